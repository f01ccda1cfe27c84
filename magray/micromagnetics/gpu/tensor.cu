// The demagnetising tensors of the slots' films, made where they are used, in double precision; compiled behind film.cu.
// The distances, the means and the sums are those of demag_tensor.py, which explains them.

#define PI 3.141592653589793

// The cells of a film and the place of its tensor in the table. Filled by the host.
struct TensorOrder {
    double x, y, z;  // sides of a cell, the largest 1
    double scale;    // of the tensor
    int place, unused;
};

// ---------------------------------------------------------------- two cells near each other, by Newell

__device__ __noinline__ double arsinh_of(double a, double b2) { return b2 > 0 ? asinh(a / sqrt(b2)) : 0.0; }
__device__ __noinline__ double arctan_of(double a, double b) { return b != 0 ? atan(a / b) : 0.0; }

__device__ __noinline__ double newell_f(double x, double y, double z) {
    double r = sqrt(x * x + y * y + z * z);
    return (2 * x * x - y * y - z * z) * r / 6 + y / 2 * (z * z - x * x) * arsinh_of(y, x * x + z * z) +
           z / 2 * (y * y - x * x) * arsinh_of(z, x * x + y * y) - x * y * z * atan2(y * z, x * r);
}
__device__ __noinline__ double newell_g(double x, double y, double z) {
    double r = sqrt(x * x + y * y + z * z);
    return x * y * z * arsinh_of(z, x * x + y * y) + y / 6 * (3 * z * z - y * y) * arsinh_of(x, y * y + z * z) +
           x / 6 * (3 * z * z - x * x) * arsinh_of(y, x * x + z * z) - z * z * z / 6 * arctan_of(x * y, z * r) -
           z * y * y / 2 * arctan_of(x * z, y * r) - z * x * x / 2 * arctan_of(y * z, x * r) - x * y * r / 3;
}

__device__ __noinline__ void add_near_cell(double x, double y, const TensorOrder& cell, double* n) {
    double factor = 1 / (4 * PI * cell.x * cell.y * cell.z), sum[4] = {};
#pragma unroll 1
    for (int at = 0; at < 18; ++at) {  // the second differences along x, y and z; the layers above and below are alike
        int a = at % 3 - 1, b = at / 3 % 3 - 1, c = at / 9;
        double weight = (a ? 1 : -2) * (b ? 1 : -2) * (c ? 2 : -2);
        double u = x + a * cell.x, v = y + b * cell.y, w = c * cell.z, p = fabs(u), q = fabs(v);
        sum[0] -= weight * newell_f(p, q, w);
        sum[1] -= weight * newell_f(q, p, w);
        sum[2] -= weight * newell_f(w, q, p);
        sum[3] -= weight * newell_g(u, v, w);
    }
    for (int c = 0; c < 4; ++c) n[c] += factor * sum[c];
}

// ---------------------------------------------------------------- farther away, by dipoles

__device__ __noinline__ void add_far_cell(double x, double y, const TensorOrder& cell, double* n) {
    const double node = 0.6324555320336759, weights[3] = {5.0 / 24, 7.0 / 12, 5.0 / 24};
    double volume = cell.x * cell.y * cell.z / (4 * PI);
#pragma unroll 1
    for (int at = 0; at < 27; ++at) {
        int a = at % 3, b = at / 3 % 3, c = at / 9;
        double u = x + (a - 1) * node * cell.x, v = y + (b - 1) * node * cell.y, z = (c - 1) * node * cell.z;
        double r2 = u * u + v * v + z * z, w = weights[a] * weights[b] * weights[c] * volume / (r2 * r2 * sqrt(r2));
        n[0] += w * (r2 - 3 * u * u);
        n[1] += w * (r2 - 3 * v * v);
        n[2] += w * (r2 - 3 * z * z);
        n[3] -= w * 3 * u * v;
    }
}

__device__ __forceinline__ void add_smooth_cell(double x, double y, const TensorOrder& cell, double* n) {
    double inverse = 1 / (x * x + y * y), w = cell.x * cell.y * cell.z / (4 * PI) * inverse * sqrt(inverse);
    double a = (cell.x * cell.x - cell.z * cell.z) / 12 * inverse, b = (cell.y * cell.y - cell.z * cell.z) / 12 * inverse;
    double u = x * x * inverse, v = 1 - u, cross = 105 * u * v - 12;
    double xx = w * (1 - 3 * u - a * (9 - (90 - 105 * u) * u) - b * cross);
    double yy = w * (1 - 3 * v - b * (9 - (90 - 105 * v) * v) - a * cross);
    n[0] += xx;
    n[1] += yy;
    n[2] -= xx + yy;
    n[3] -= w * inverse * x * y * (3 + a * (105 * u - 45) + b * (105 * v - 45));
}

// ---------------------------------------------------------------- the images that are not summed one by one

__device__ __forceinline__ double midpoint(int a) { return a ? -1.0 / 24 : 13.0 / 12; }

__device__ __noinline__ void tail_of_plane(double x, double y, double period_x, double period_y, int images_x,
                                           int images_y, double* n) {
    for (int a = -1; a < 2; ++a)
        for (int b = -1; b < 2; ++b)
            for (int sx = -1; sx < 2; sx += 2)
                for (int sy = -1; sy < 2; sy += 2) {
                    double u = x + (sx * (images_x + 0.5) + a) * period_x, v = y + (sy * (images_y + 0.5) + b) * period_y;
                    double r = sqrt(u * u + v * v), w = sx * sy * midpoint(a) * midpoint(b) / (4 * PI);
                    n[0] -= w * v / (u * r);
                    n[1] -= w * u / (v * r);
                    n[2] += w * r / (u * v);
                    n[3] += w / r;
                }
}

__device__ __noinline__ void tail_of_line(double across, double along, double period, int images, double& n_across,
                                          double& n_along, double& n_z, double& n_xy) {
    for (int a = -1; a < 2; ++a)
        for (int s = -1; s < 2; s += 2) {
            double v = (images + 0.5) * period + s * (along + a * period), r = sqrt(across * across + v * v);
            double w = midpoint(a) / (4 * PI);
            n_across += w * (v / (r * r * r) - 1 / (r * (r + v)));
            n_along -= w * v / (r * r * r);
            n_z += w / (r * (r + v));
            n_xy -= w * s * across / (r * r * r);
        }
}

__device__ __forceinline__ void tail(double x, double y, int nx, int ny, const TensorOrder& cell, int images_x,
                                     int images_y, double* n) {
    double factor = 0;
    if (images_x && images_y) {
        tail_of_plane(x, y, nx * cell.x, ny * cell.y, images_x, images_y, n);
        factor = cell.z / ((double)nx * ny);
    } else if (images_x) {
        tail_of_line(y, x, nx * cell.x, images_x, n[1], n[0], n[2], n[3]);
        factor = cell.y * cell.z / nx;
    } else if (images_y) {
        tail_of_line(x, y, ny * cell.y, images_y, n[0], n[1], n[2], n[3]);
        factor = cell.x * cell.z / ny;
    }
    for (int c = 0; c < 4; ++c) n[c] *= factor;
}

// N between cells (i, j) apart, i ≤ nx/2, j ≤ ny/2: quarter, (orders, 4, ny/2+1, nx/2+1). nx, ny: with the empty cells
// along open axes, which have no images. Grid: (blocks over cells, orders).
extern "C" __global__ void tensor_cells(const TensorOrder* orders, double* quarter, int nx, int ny, int images_x,
                                        int images_y) {
    const TensorOrder cell = orders[blockIdx.y];
    int wide = nx / 2 + 1, count = wide * (ny / 2 + 1);
    for (int at = blockIdx.x * blockDim.x + threadIdx.x; at < count; at += gridDim.x * blockDim.x) {
        int i = at % wide, j = at / wide;
        double n[4] = {};
        tail(i * cell.x, j * cell.y, nx, ny, cell, images_x, images_y, n);
        for (int q = -images_y; q <= images_y; ++q)
            for (int p = -images_x; p <= images_x; ++p) {
                double x = (i + p * nx) * cell.x, y = (j + q * ny) * cell.y, r2 = x * x + y * y;
                if (r2 > SMOOTH * SMOOTH) add_smooth_cell(x, y, cell, n);
                else if (r2 > NEAR * NEAR) add_far_cell(x, y, cell, n);
                else add_near_cell(x, y, cell, n);
            }
        bool beyond = (OPEN_X && 2 * i == nx) || (OPEN_Y && 2 * j == ny);  // no two cells of the film are so far apart
        if (i == 0 || 2 * i == nx || j == 0 || 2 * j == ny) n[3] = 0;      // odd and periodic
        for (int c = 0; c < 4; ++c) quarter[((size_t)blockIdx.y * 4 + c) * count + at] = beyond ? 0.0 : n[c];
    }
}

// ---------------------------------------------------------------- into Fourier space

// Σ in[j · stride] exp(−2πi j k / n) over n numbers that are even, or odd, about j = 0, without the i of odd ones.
// turns: cos(2πj / n), then sin(2πj / n), for j < n.
__device__ __forceinline__ double wave(const double* in, int stride, int n, int k, bool odd, const double* turns) {
    double sum = 0;
    for (int j = 0, turn = 0; 2 * j <= n; ++j) {
        sum += (j == 0 || 2 * j == n ? 1.0 : 2.0) * in[(size_t)j * stride] * turns[(odd ? n : 0) + turn];
        turn += k;
        if (turn >= n) turn -= n;
    }
    return sum;
}

// Along y: quarter becomes mixed, (orders, 4, nx/2+1, ny/2+1). Grid: (blocks over waves, 4, orders).
extern "C" __global__ void tensor_columns(const double* quarter, double* mixed, const double* turns, int nx, int ny) {
    int wide = nx / 2 + 1, high = ny / 2 + 1, count = wide * high;
    size_t base = ((size_t)blockIdx.z * 4 + blockIdx.y) * count;
    for (int at = blockIdx.x * blockDim.x + threadIdx.x; at < count; at += gridDim.x * blockDim.x) {
        int x = at % wide, k = at / wide;
        mixed[base + (size_t)x * high + k] = wave(quarter + base + x, wide, ny, k, blockIdx.y == 3, turns);
    }
}

// Along x, into the orders' places of the table, (places, 4, ny/2+1, stride). Grid: (blocks over waves, 4, orders).
extern "C" __global__ void tensor_rows(const TensorOrder* orders, const double* mixed, float* table, const double* turns,
                                       int nx, int ny, int stride) {
    const TensorOrder order = orders[blockIdx.z];
    int wide = nx / 2 + 1, high = ny / 2 + 1, count = wide * high;
    bool odd = blockIdx.y == 3;
    const double* in = mixed + ((size_t)blockIdx.z * 4 + blockIdx.y) * count;
    float* out = table + ((size_t)order.place * 4 + blockIdx.y) * high * stride;
    for (int at = blockIdx.x * blockDim.x + threadIdx.x; at < count; at += gridDim.x * blockDim.x) {
        int y = at % high, k = at / high;
        double sum = wave(in + y, high, nx, k, odd, turns);
        out[(size_t)y * stride + k] = (float)(order.scale * (odd ? -sum : sum));
    }
}
