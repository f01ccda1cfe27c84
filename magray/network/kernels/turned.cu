// Views of periodic films under a Gaussian: turned by any angle, mirrored, of any size, of either contrast.
//
// geometry: (views, 8): x = g[4] + g[0] j + g[1] i and y = g[5] + g[2] j + g[3] i are the cell under pixel (i, j), which
// counts from the middle of the view; the Gaussian's width is g[6] cells, and g[7] the contrast.
// Defined by turned.py: VIEW, REACH, the cells on either side that the Gaussian is summed over.
// Grid: (VIEW * VIEW / THREADS, views).

__device__ __forceinline__ int wrapped(int place, int length) {
    int rest = place % length;
    return rest < 0 ? rest + length : rest;
}

extern "C" __global__ void __launch_bounds__(THREADS)
turned(const unsigned char* __restrict__ films, const long long* __restrict__ index, const float* __restrict__ geometry,
       int height, int width, float* __restrict__ out) {
    const float* g = geometry + 8 * (size_t)blockIdx.y;
    const unsigned char* film = films + (size_t)index[blockIdx.y] * height * width;
    int pixel = blockIdx.x * THREADS + threadIdx.x;
    float j = pixel % VIEW + 0.5f - VIEW / 2, i = pixel / VIEW + 0.5f - VIEW / 2;
    float x = g[4] + g[0] * j + g[1] * i, y = g[5] + g[2] * j + g[3] * i, narrow = -0.5f / (g[6] * g[6]);
    float nearest_x = rintf(x), nearest_y = rintf(y);
    float weights[2 * REACH + 1], sum_x = 0, sum_y = 0, sum = 0;
    int columns[2 * REACH + 1];
#pragma unroll
    for (int k = 0; k <= 2 * REACH; ++k) {
        float off = nearest_x + (float)(k - REACH) - x;
        weights[k] = expf(narrow * off * off);
        sum_x += weights[k];
        columns[k] = wrapped((int)nearest_x + k - REACH, width);
    }
#pragma unroll
    for (int k = 0; k <= 2 * REACH; ++k) {
        float off = nearest_y + (float)(k - REACH) - y, weight = expf(narrow * off * off), line = 0;
        const unsigned char* row = film + (size_t)wrapped((int)nearest_y + k - REACH, height) * width;
#pragma unroll
        for (int l = 0; l <= 2 * REACH; ++l) line += weights[l] * (float)row[columns[l]];
        sum += weight * line;
        sum_y += weight;
    }
    out[(size_t)blockIdx.y * VIEW * VIEW + pixel] = (sum / (sum_x * sum_y) / 127.5f - 1.0f) * g[7];
}
