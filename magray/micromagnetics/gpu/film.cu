// Films in their slots: constants, initial states, local terms, and final energies. The first of the files that are
// compiled as one; the passes of the minimiser, the quench and the transforms follow.
//
// Layout: vectors are (slot, component, y, x), float32; the spectra of real FFTs are (slot, component, ky, kx), complex64,
// kx ≤ nx/2. Steps and preconditioned changes of the minimiser are kept as bfloat16, two in a word, in rings (ring place,
// slot, component, y, x / 2). All fields are in units of Ms. nx is even: a thread has two neighbouring cells of a row.
//
// Every sum is made in a fixed order, first over a block, then over blocks, so a film's result does not depend on the
// other slots and is the same in every run.

// Compiled with the macros of constants.py: the constants of the minimiser, the quench and the tensors. Also with
// -DOPEN_X=1 and -DOPEN_Y=1 for films that end along x, along y, with -DELLIPSE=1 for elliptic ones.
#define RING (HISTORY + 1)  // pairs of the minimiser, and the step that may become one
#define WARP 32
#ifndef OPEN_X
#define OPEN_X 0
#endif
#ifndef OPEN_Y
#define OPEN_Y 0
#endif
#ifndef ELLIPSE
#define ELLIPSE 0
#endif

// What one film is, in reduced units. Filled by the host.
struct Film {
    double sigma;                        // of Ku1, relative
    double direction_x, direction_y, direction_z, noise;  // of a uniform start; noise: of later fields, too
    double tile_x, tile_y, cell_x, cell_y, cell_z;        // widths of grains' tiles and sides of cells, m
    float exchange_x, exchange_y;        // 2 Aex / (µ0 Ms² dx²)
    float anisotropy;                    // 2 Ku1 / (µ0 Ms²)
    float bulk_x, bulk_y;                // 2 D / (µ0 Ms² 2 dx), of central differences
    float interfacial_x, interfacial_y;
    float field_x, field_y, field_z;
    float stiffness;                     // of the preconditioner
    float torque;                        // tolerance, Ms
    int max_evaluations;
    unsigned int seed_low, seed_high;
    int initial;                         // 0 random, 1 uniform, 2 the m and Ku1 that the slot holds, 3 its other m
    int grains_x, grains_y;              // tiles of grains; 0: each cell is a grain
    int mode;                            // RUNNING or QUENCHING: what the stage begins as
    float alpha, rotation, thermal_std;  // of a quench, as in llg.py
    int stage, ramp, single, parts, outer_steps;
    int demag, tensor;                   // 0 without a demagnetising field; the place of its tensor
    int number;                          // of the field that a stage of several is at
    int square_x, square_y;              // cells to a side of a square with one random direction
};

enum Mode { IDLE = 0, RUNNING = 1, CONVERGED = 2, NOT_CONVERGED = 3, FAILED = 4, QUENCHING = 5, QUENCHED = 6 };
enum Stream { STREAM_START = 0, STREAM_KU1 = 1, STREAM_GRAINS = 2, STREAM_THERMAL = 3 };

// What the host reads of a slot.
struct Report {
    int mode, evaluations;
    int buffer;        // which of the two m holds the latest accepted point
    int unused;
    double energy;     // µ0 Ms² a cell
    double torque;     // Ms
};

// Where a film's minimisation stands, beside its report. Lives on the device alone.
struct Slot {
    double energies[NONMONOTONE_WINDOW];
    int accepted;
    int fresh;                             // the next evaluation has no point before it to compare with
    int skip;                              // the next step leaves m where it is
    float limit;                           // of a cell's turn, rad
    int count, head, order[HISTORY];         // live pairs, oldest first, as ring places; place of the latest step
    int newest;                            // the pair whose change the next step has to write, or -1
    double force_step[HISTORY], force_change[HISTORY];       // f·s_i and f·P y_i at the latest point
    double step_change[HISTORY][HISTORY], change_change[HISTORY][HISTORY];  // s_i·y_j for j ≥ i, y_i·P y_j
    double force_force;                    // f·P f
    float step_weight[HISTORY], change_weight[HISTORY];      // of the next step
    int step;                              // of a quench: the outer step that comes next
    int taken_back;                        // steps
    float scale;                           // of the preconditioner
};

// ---------------------------------------------------------------- the film's shape, as in mask.py

__device__ __forceinline__ bool inside(int x, int y, int nx, int ny) {
    if (!ELLIPSE) return true;
    long long u = (long long)(2 * x + 1 - nx) * ny, v = (long long)(2 * y + 1 - ny) * nx, r = (long long)nx * ny;
    return u * u + v * v <= r * r;
}

// 1 for each neighbour that a cell has, 0 for one beyond an open edge. x, y may lie outside of a periodic film.
struct Edges { float left, right, below, above; };
__device__ __forceinline__ Edges edges_at(int x, int y, int nx, int ny) {
    Edges has = {1, 1, 1, 1};
    if (OPEN_X) {
        has.left = x > 0 && inside(x - 1, y, nx, ny);
        has.right = x + 1 < nx && inside(x + 1, y, nx, ny);
    }
    if (OPEN_Y) {
        has.below = y > 0 && inside(x, y - 1, nx, ny);
        has.above = y + 1 < ny && inside(x, y + 1, nx, ny);
    }
    return has;
}

// ---------------------------------------------------------------- random numbers: Philox4x32-10, as in philox.py

__device__ __forceinline__ void philox(unsigned int place, unsigned int stream, unsigned int step, unsigned int stage,
                                       unsigned int k0, unsigned int k1, unsigned int out[4]) {
    unsigned int c0 = place, c1 = stream, c2 = step, c3 = stage;
    for (int round = 0; round < 10; ++round) {
        unsigned int h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
        unsigned int h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
        c0 = h1 ^ c1 ^ k0; c1 = l1; c2 = h0 ^ c3 ^ k1; c3 = l0;
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
    }
    out[0] = c0; out[1] = c1; out[2] = c2; out[3] = c3;
}

__device__ __forceinline__ double uniform(unsigned int word) { return (word + 0.5) / 4294967296.0; }

__device__ __forceinline__ void random_direction(const Film& film, int cell, int nx, double m[3]) {
    const double TWO_PI = 6.283185307179586;
    int across = (nx + film.square_x - 1) / film.square_x;
    unsigned int w[4];
    philox(cell / nx / film.square_y * across + cell % nx / film.square_x, STREAM_START, 0, 0, film.seed_low, film.seed_high, w);
    m[2] = __dsub_rn(2 * uniform(w[0]), 1.0);
    double r = sqrt(__dsub_rn(1.0, __dmul_rn(m[2], m[2]))), angle = TWO_PI * uniform(w[1]);
    m[0] = r * cos(angle);
    m[1] = r * sin(angle);
}

// Tilts m by an angle of `noise` or so, normally distributed. w: the cell's four random words.
__device__ __forceinline__ void tilt(const unsigned int w[4], double noise, double m[3]) {
    const double TWO_PI = 6.283185307179586;
    double r0 = sqrt(-2 * log(uniform(w[0]))), r1 = sqrt(-2 * log(uniform(w[2])));
    m[0] = m[0] + noise * (r0 * cos(TWO_PI * uniform(w[1])));
    m[1] = m[1] + noise * (r0 * sin(TWO_PI * uniform(w[1])));
    m[2] = m[2] + noise * (r1 * cos(TWO_PI * uniform(w[3])));
    double norm = sqrt(m[0] * m[0] + m[1] * m[1] + m[2] * m[2]);
    for (int c = 0; c < 3; ++c) m[c] /= norm;
}

__device__ __forceinline__ void tilted_direction(const Film& film, int cell, double m[3]) {
    unsigned int w[4];
    philox(cell, STREAM_START, 0, 0, film.seed_low, film.seed_high, w);
    m[0] = film.direction_x; m[1] = film.direction_y; m[2] = film.direction_z;
    tilt(w, film.noise, m);
}

__device__ __forceinline__ int modulo(int i, int n) {
    i %= n;
    return i < 0 ? i + n : i;
}

// The grain of a cell, as grains.py: the nearest centre, in double precision without fused operations.
__device__ __forceinline__ int grain_of(const Film& film, int x, int y, int nx, int ny) {
    int gx = film.grains_x, gy = film.grains_y, grain = 0;
    int own_x = (int)((2LL * x + 1) * gx / (2 * nx)), own_y = (int)((2LL * y + 1) * gy / (2 * ny));
    double nearest = 1e300, middle_x = __dmul_rn(x + 0.5, film.cell_x), middle_y = __dmul_rn(y + 0.5, film.cell_y);
    for (int ty = own_y - 2; ty <= own_y + 2; ++ty)
        for (int tx = own_x - 2; tx <= own_x + 2; ++tx) {
            unsigned int w[4];
            int tile = modulo(ty, gy) * gx + modulo(tx, gx);
            philox(tile, STREAM_GRAINS, 0, 0, film.seed_low, film.seed_high, w);
            double a = __dsub_rn(__dmul_rn(__dadd_rn(tx, uniform(w[0])), film.tile_x), middle_x);
            double b = __dsub_rn(__dmul_rn(__dadd_rn(ty, uniform(w[1])), film.tile_y), middle_y);
            double distance2 = __dadd_rn(__dmul_rn(a, a), __dmul_rn(b, b));
            if (distance2 < nearest) {
                nearest = distance2;
                grain = tile;
            }
        }
    return grain;
}

__device__ __forceinline__ float ku1_of(const Film& film, int cell, int nx, int ny) {
    if (film.sigma == 0) return 1.0f;
    unsigned int w[4];
    int grain = film.grains_x ? grain_of(film, cell % nx, cell / nx, nx, ny) : cell;
    philox(grain, STREAM_KU1, 0, 0, film.seed_low, film.seed_high, w);
    return (float)(1.0 + film.sigma * (sqrt(-2 * log(uniform(w[0]))) * cos(6.283185307179586 * uniform(w[1]))));
}

// Fills the listed slots with their films' initial states and Ku1 maps and sets them running; m: what is evaluated next; other:
// the other of the two m. Grid: (blocks over cells, listed slots).
extern "C" __global__ void begin(const Film* films, Slot* slots, Report* reports, const int* list, float* m_all,
                                 const float* other_all, float* ku1, int ny, int nx) {
    int slot = list[blockIdx.y], cells = ny * nx;
    Film film = films[slot];
    float* m = m_all + (size_t)slot * 3 * cells;
    const float* other = other_all + (size_t)slot * 3 * cells;
    const float* from = film.initial == 3 ? other : m;
    for (int cell = blockIdx.x * blockDim.x + threadIdx.x;
         cell < cells && (film.initial == 3 || (film.initial == 2 && film.noise > 0)); cell += gridDim.x * blockDim.x) {
        double v[3];
        for (int c = 0; c < 3; ++c) v[c] = from[c * cells + cell];
        if (film.noise > 0 && inside(cell % nx, cell / nx, nx, ny)) {
            unsigned int w[4];
            philox(cell, STREAM_THERMAL, film.number, film.stage, film.seed_low, film.seed_high, w);
            tilt(w, film.noise, v);
        }
        for (int c = 0; c < 3; ++c) m[c * cells + cell] = (float)v[c];
    }
    for (int cell = blockIdx.x * blockDim.x + threadIdx.x; cell < cells && film.initial < 2;
         cell += gridDim.x * blockDim.x) {
        double v[3];
        if (film.initial == 0) random_direction(film, cell, nx, v);
        else tilted_direction(film, cell, v);
        bool empty = !inside(cell % nx, cell / nx, nx, ny);
        for (int c = 0; c < 3; ++c) m[c * cells + cell] = empty ? 0.0f : (float)v[c];
        ku1[(size_t)slot * cells + cell] = ku1_of(film, cell, nx, ny);
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        Slot* s = slots + slot;
        *s = Slot();
        reports[slot] = Report();
        reports[slot].buffer = 1;
        reports[slot].mode = film.mode;
        s->fresh = 1;
        s->skip = 1;
        s->limit = MAX_ROTATION;
        s->scale = 1;
        s->newest = -1;
    }
}

// ---------------------------------------------------------------- sums in a fixed order

template <int N>
__device__ __forceinline__ void block_sum(double (&value)[N], double* out) {
    __shared__ double shared[N][WARP];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = (blockDim.x + WARP - 1) / WARP;
#pragma unroll
    for (int q = 0; q < N; ++q) {
        for (int d = WARP / 2; d > 0; d /= 2) value[q] += __shfl_down_sync(0xffffffffu, value[q], d);
        if (lane == 0) shared[q][warp] = value[q];
    }
    __syncthreads();
    if (threadIdx.x < N) {
        double sum = 0;
        for (int w = 0; w < warps; ++w) sum += shared[threadIdx.x][w];
        out[threadIdx.x] = sum;
    }
}

__device__ __forceinline__ float block_max(float value) {
    __shared__ float shared[WARP];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = (blockDim.x + WARP - 1) / WARP;
    for (int d = WARP / 2; d > 0; d /= 2) value = fmaxf(value, __shfl_down_sync(0xffffffffu, value, d));
    if (lane == 0) shared[warp] = value;
    __syncthreads();
    float top = 0;
    for (int w = 0; w < warps; ++w) top = fmaxf(top, shared[w]);
    return top;
}

// Of `count` numbers, `step` apart, by one warp; the result is the first lane's.
__device__ __forceinline__ double warp_sum(const double* p, int count, int step) {
    double sum = 0;
    for (int i = threadIdx.x; i < count; i += WARP) sum += p[(size_t)i * step];
    for (int d = WARP / 2; d > 0; d /= 2) sum += __shfl_down_sync(0xffffffffu, sum, d);
    return sum;
}
__device__ __forceinline__ float warp_max(const float* p, int count) {
    float top = 0;
    for (int i = threadIdx.x; i < count; i += WARP) top = fmaxf(top, p[i]);
    for (int d = WARP / 2; d > 0; d /= 2) top = fmaxf(top, __shfl_down_sync(0xffffffffu, top, d));
    return top;
}

// ---------------------------------------------------------------- real space

__device__ __forceinline__ float2 load2(const float* p) { return *reinterpret_cast<const float2*>(p); }
__device__ __forceinline__ void store2(float* p, float2 v) { *reinterpret_cast<float2*>(p) = v; }
// Two bfloat16 in a word: the upper halves of two floats, rounded to nearest even.
__device__ __forceinline__ float2 unpack(unsigned int v) {
    return make_float2(__uint_as_float(v << 16), __uint_as_float(v & 0xffff0000u));
}
__device__ __forceinline__ unsigned int rounded(float v) {
    unsigned int u = __float_as_uint(v);
    return (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
}
__device__ __forceinline__ unsigned int pack(float2 v) { return rounded(v.x) | (rounded(v.y) << 16); }
__device__ __forceinline__ float dot3(const float* a, const float* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

__device__ __forceinline__ void add_exchange(const Film& film, const float* m, const float* left, const float* right,
                                             const float* below, const float* above, const Edges& has, float* h) {
#pragma unroll
    for (int c = 0; c < 3; ++c)
        h[c] += film.exchange_x * (has.left * (left[c] - m[c]) + has.right * (right[c] - m[c])) +
                film.exchange_y * (has.below * (below[c] - m[c]) + has.above * (above[c] - m[c]));
}

__device__ __forceinline__ void add_bulk_dmi(const Film& film, const float* left, const float* right, const float* below,
                                             const float* above, const Edges& has, float* h) {
    float zx = has.right * right[2] - has.left * left[2], zy = has.above * above[2] - has.below * below[2];
    float yx = has.right * right[1] - has.left * left[1], xy = has.above * above[0] - has.below * below[0];
    h[0] -= film.bulk_y * zy;
    h[1] += film.bulk_x * zx;
    h[2] += film.bulk_y * xy - film.bulk_x * yx;
}

__device__ __forceinline__ void add_interfacial_dmi(const Film& film, const float* left, const float* right,
                                                    const float* below, const float* above, const Edges& has, float* h) {
    float zx = has.right * right[2] - has.left * left[2], zy = has.above * above[2] - has.below * below[2];
    float xx = has.right * right[0] - has.left * left[0], yy = has.above * above[1] - has.below * below[1];
    h[0] += film.interfacial_x * zx;
    h[1] += film.interfacial_y * zy;
    h[2] -= film.interfacial_x * xx + film.interfacial_y * yy;
}

// The field of all terms but demag, which comes in h, and the applied one; left, right: neighbours in x; below, above: in y.
__device__ __forceinline__ void add_local_terms(const Film& film, float ku1, const float* m, const float* left,
                                                const float* right, const float* below, const float* above,
                                                const Edges& has, float* h) {
    add_exchange(film, m, left, right, below, above, has, h);
    add_bulk_dmi(film, left, right, below, above, has, h);
    add_interfacial_dmi(film, left, right, below, above, has, h);
    h[2] += film.anisotropy * ku1 * m[2];
}

// ---------------------------------------------------------------- energies of a finished film

#define TERM_SUMS 5  // exchange, anisotropy, dmi, demag, zeeman, each in µ0 Ms² over all cells

// A cell's field by exchange and by DMI, in double precision from the m of its film.
__device__ __forceinline__ void neighbours_fields(const Film& film, const float* m, int x, int y, int nx, int ny,
                                                  const double* v, double* exchange, double* dmi) {
    size_t cells = (size_t)ny * nx;
    int at[4] = {y * nx + (x == 0 ? nx : x) - 1, y * nx + (x + 1 == nx ? 0 : x + 1),
                 ((y == 0 ? ny : y) - 1) * nx + x, (y + 1 == ny ? 0 : y + 1) * nx + x};
    Edges edges = edges_at(x, y, nx, ny);
    float has[4] = {edges.left, edges.right, edges.below, edges.above};
    double factor[2] = {film.exchange_x, film.exchange_y};
    for (int side = 0; side < 4; ++side) {
        double n[3], sign = side % 2 ? has[side] : -has[side];
        for (int c = 0; c < 3; ++c) {
            n[c] = m[c * cells + at[side]];
            exchange[c] += has[side] * factor[side / 2] * (n[c] - v[c]);
        }
        double bx = side < 2 ? sign * film.bulk_x : 0, by = side < 2 ? 0 : sign * film.bulk_y;
        double ix = side < 2 ? sign * film.interfacial_x : 0, iy = side < 2 ? 0 : sign * film.interfacial_y;
        dmi[0] += ix * n[2] - by * n[2];
        dmi[1] += iy * n[2] + bx * n[2];
        dmi[2] += by * n[0] - bx * n[1] - ix * n[0] - iy * n[1];
    }
}

// Energies by term of one film, in double precision from its m and its demagnetising field h (3, ny, nx), and the largest
// |m × h|² of all terms. Grid: (blocks over cells); partial[block][term], torque2[block].
extern "C" __global__ void energies(const float* m, const float* h, const float* ku1, const Film* films, int slot,
                                    double* partial, float* torque2, int ny, int nx) {
    Film film = films[slot];
    int cells = ny * nx;
    double sum[TERM_SUMS] = {};
    float top = 0;
    const double applied[3] = {film.field_x, film.field_y, film.field_z};
    for (int cell = blockIdx.x * blockDim.x + threadIdx.x; cell < cells; cell += gridDim.x * blockDim.x) {
        double v[3], exchange[3] = {}, dmi[3] = {}, all[3];
        for (int c = 0; c < 3; ++c) v[c] = m[(size_t)c * cells + cell];
        neighbours_fields(film, m, cell % nx, cell / nx, nx, ny, v, exchange, dmi);
        double axis = (double)film.anisotropy * ku1[cell] * v[2];
        for (int c = 0; c < 3; ++c) {
            double demag = h[(size_t)c * cells + cell];
            sum[0] -= 0.5 * v[c] * exchange[c];
            sum[2] -= 0.5 * v[c] * dmi[c];
            sum[3] -= 0.5 * v[c] * demag;
            sum[4] -= v[c] * applied[c];
            all[c] = exchange[c] + dmi[c] + demag + applied[c] + (c == 2 ? axis : 0);
        }
        sum[1] -= 0.5 * v[2] * axis;
        double t[3] = {v[1] * all[2] - v[2] * all[1], v[2] * all[0] - v[0] * all[2], v[0] * all[1] - v[1] * all[0]};
        top = fmaxf(top, (float)(t[0] * t[0] + t[1] * t[1] + t[2] * t[2]));
    }
    top = block_max(top);
    if (threadIdx.x == 0) torque2[blockIdx.x] = top;
    block_sum(sum, partial + (size_t)blockIdx.x * TERM_SUMS);
}

// Sums over cells of the components of m in the listed slots, at the latest accepted point. Grid: (blocks, listed slots).
extern "C" __global__ void sums_of_m(const float* m0, const float* m1, const Report* reports, const int* list,
                                     double* partial, int ny, int nx) {
    int slot = list[blockIdx.y], cells = ny * nx;
    const float* m = (reports[slot].buffer ? m1 : m0) + (size_t)slot * 3 * cells;
    double sum[3] = {};
    for (int cell = blockIdx.x * blockDim.x + threadIdx.x; cell < cells; cell += gridDim.x * blockDim.x)
        for (int c = 0; c < 3; ++c) sum[c] += m[(size_t)c * cells + cell];
    block_sum(sum, partial + ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * 3);
}

extern "C" __global__ void struct_sizes(int* out) {
    out[0] = sizeof(Film);
    out[1] = sizeof(Report);
    out[2] = sizeof(Slot);
}
