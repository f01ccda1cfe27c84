// What happens to the films in Fourier space; compiled behind kernels.cu, whose structs and sums it uses.
//
// Two ways: between whole transforms by cuFFT, any size; or a column at a time, for columns of 64 to 1024 = 2^n cells,
// with cuFFT for the rows alone: two passes over memory less.

// ---------------------------------------------------------------- between whole transforms

// m̂ → −N m̂, in place. tensor: (4, ny, nk) for Nxx, Nyy, Nzz, Nxy, already divided by the number of cells.
// Grid: (blocks over waves, slots).
extern "C" __global__ void demag(float2* spectrum, const float* tensor, const Report* reports, int waves) {
    int slot = blockIdx.y;
    if (reports[slot].mode != RUNNING) return;
    float2* sx = spectrum + (size_t)slot * 3 * waves;
    float2 *sy = sx + waves, *sz = sy + waves;
    for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < waves; k += gridDim.x * blockDim.x) {
        float xx = tensor[k], yy = tensor[waves + k], zz = tensor[2 * waves + k], xy = tensor[3 * waves + k];
        float2 mx = sx[k], my = sy[k], mz = sz[k];
        sx[k] = make_float2(-(xx * mx.x + xy * my.x), -(xx * mx.y + xy * my.y));
        sy[k] = make_float2(-(xy * mx.x + yy * my.x), -(xy * mx.y + yy * my.y));
        sz[k] = make_float2(-zz * mz.x, -zz * mz.y);
    }
}

// f̂ → P f̂, in place, P = 1 / (c0 + cex k²) / cells; and f·P f by Parseval into partial[slot][block].
// symbol_x: (nk) and symbol_y: (ny): 2 − 2 cos k. Grid: (blocks over waves, slots).
extern "C" __global__ void precondition(float2* spectrum, const float* symbol_x, const float* symbol_y,
                                        const Film* films, const Report* reports, double* partial, int ny, int nk,
                                        int nx) {
    int slot = blockIdx.y, waves = ny * nk;
    if (reports[slot].mode != RUNNING) return;
    Film film = films[slot];
    float2* s = spectrum + (size_t)slot * 3 * waves;
    float scale = 1.0f / ((float)nx * ny);
    double sum[1] = {0};
    for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < waves; k += gridDim.x * blockDim.x) {
        int ky = k / nk, kx = k - ky * nk;
        float p = scale / (film.stiffness + film.exchange_x * symbol_x[kx] + film.exchange_y * symbol_y[ky]);
        float power = 0;
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            float2 v = s[c * waves + k];
            power += v.x * v.x + v.y * v.y;
            s[c * waves + k] = make_float2(p * v.x, p * v.y);
        }
        sum[0] += (kx == 0 || 2 * kx == nx ? 1.0 : 2.0) * p * power;  // the half spectrum stands for its mirror image
    }
    block_sum(sum, partial + (size_t)slot * gridDim.x + blockIdx.x);
}

// ---------------------------------------------------------------- a column at a time
//
// cuFFT transforms the rows. Here each column is transformed along y, multiplied, and transformed back, in one pass over
// memory: forward by decimation in frequency, back by the same steps in reverse, so that nothing is ever sorted.
//
// A thread holds POINTS of a column's N numbers. A stage of radix R and stride S joins the numbers at places
// hi·R·S + r·S + lo, r < R; stage after stage S falls from N / R to 1, and place p ends up with frequency
// frequency<N>(p). Between stages the numbers change threads through shared memory.

#define POINTS 8

// 64 = 8·8, 128 = 8·8·2, 256 = 8·8·4, 512 = 8·8·8, 1024 = 8·8·4·4
template <int N> __device__ constexpr int stages() { return N == 64 ? 2 : N == 1024 ? 4 : 3; }
template <int N> __device__ constexpr int radix_of(int stage) { return stage < 2 ? 8 : N == 1024 ? 4 : N / 64; }
template <int N> __device__ constexpr int stride_of(int stage) {
    int stride = N;
    for (int s = 0; s <= stage; ++s) stride /= radix_of<N>(s);
    return stride;
}

template <int N> __device__ __forceinline__ int frequency(int place) {
    int k = 0, weight = 1;
#pragma unroll
    for (int s = 0; s < stages<N>(); ++s) {
        k += weight * (place / stride_of<N>(s) % radix_of<N>(s));
        weight *= radix_of<N>(s);
    }
    return k;
}

// The place of a thread's i-th number in a stage.
template <int N, int STAGE> __device__ __forceinline__ int place_of(int thread, int i) {
    constexpr int R = radix_of<N>(STAGE), S = stride_of<N>(STAGE);
    int r = i % R, group = thread + i / R * (N / POINTS);
    return group / S * (R * S) + r * S + group % S;
}

__device__ __forceinline__ float2 operator+(float2 a, float2 b) { return make_float2(a.x + b.x, a.y + b.y); }
__device__ __forceinline__ float2 operator-(float2 a, float2 b) { return make_float2(a.x - b.x, a.y - b.y); }
// a · b, or a · conj(b)
template <bool BACK> __device__ __forceinline__ float2 times(float2 a, float2 b) {
    return BACK ? make_float2(a.x * b.x + a.y * b.y, a.y * b.x - a.x * b.y)
                : make_float2(a.x * b.x - a.y * b.y, a.y * b.x + a.x * b.y);
}
// −i a forward, i a back
template <bool BACK> __device__ __forceinline__ float2 quarter(float2 a) {
    return BACK ? make_float2(-a.y, a.x) : make_float2(a.y, -a.x);
}

template <int R, bool BACK> struct Butterfly;
template <bool BACK> struct Butterfly<2, BACK> {
    static __device__ __forceinline__ void apply(float2* v) {
        float2 a = v[0];
        v[0] = a + v[1];
        v[1] = a - v[1];
    }
};
template <bool BACK> struct Butterfly<4, BACK> {
    static __device__ __forceinline__ void apply(float2* v) {
        float2 a = v[0] + v[2], b = v[0] - v[2], c = v[1] + v[3], d = quarter<BACK>(v[1] - v[3]);
        v[0] = a + c;
        v[1] = b + d;
        v[2] = a - c;
        v[3] = b - d;
    }
};
template <bool BACK> struct Butterfly<8, BACK> {
    static __device__ __forceinline__ void apply(float2* v) {
        const float h = 0.70710678118654752f;
        float2 even[4] = {v[0], v[2], v[4], v[6]}, odd[4] = {v[1], v[3], v[5], v[7]};
        Butterfly<4, BACK>::apply(even);
        Butterfly<4, BACK>::apply(odd);
        odd[1] = times<BACK>(odd[1], make_float2(h, -h));
        odd[2] = quarter<BACK>(odd[2]);
        odd[3] = times<BACK>(odd[3], make_float2(-h, -h));
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            v[k] = even[k] + odd[k];
            v[k + 4] = even[k] - odd[k];
        }
    }
};

template <int N, int STAGE, bool BACK>
__device__ __forceinline__ void twiddle(float2* v, int thread, const float2* roots) {
    constexpr int R = radix_of<N>(STAGE), S = stride_of<N>(STAGE);
    if constexpr (S > 1) {
#pragma unroll
        for (int i = 0; i < POINTS; ++i) {
            int r = i % R, lo = (thread + i / R * (N / POINTS)) % S;
            if (r) v[i] = times<BACK>(v[i], roots[lo * r * (N / (R * S))]);
        }
    }
}

template <int N, int STAGE, bool BACK> __device__ __forceinline__ void butterflies(float2* v) {
    constexpr int R = radix_of<N>(STAGE);
#pragma unroll
    for (int i = 0; i < POINTS; i += R) Butterfly<R, BACK>::apply(v + i);
}

// From the places of one stage to those of another. shared: (N + N / 8) × COLUMNS numbers; one line in nine stays empty,
// which keeps the threads of a warp on different banks.
template <int N, int FROM, int TO, int COLUMNS>
__device__ __forceinline__ void exchange(float2* v, int thread, int column, float2* shared) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
        int p = place_of<N, FROM>(thread, i);
        shared[(p + p / 8) * COLUMNS + column] = v[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
        int p = place_of<N, TO>(thread, i);
        v[i] = shared[(p + p / 8) * COLUMNS + column];
    }
}

template <int N, int COLUMNS, int STAGE = 0>
__device__ __forceinline__ void forward(float2* v, int thread, int column, float2* shared, const float2* roots) {
    butterflies<N, STAGE, false>(v);
    twiddle<N, STAGE, false>(v, thread, roots);
    if constexpr (STAGE + 1 < stages<N>()) {
        exchange<N, STAGE, STAGE + 1, COLUMNS>(v, thread, column, shared);
        forward<N, COLUMNS, STAGE + 1>(v, thread, column, shared, roots);
    }
}

template <int N, int COLUMNS, int STAGE = stages<N>() - 1>
__device__ __forceinline__ void backward(float2* v, int thread, int column, float2* shared, const float2* roots) {
    twiddle<N, STAGE, true>(v, thread, roots);
    butterflies<N, STAGE, true>(v);
    if constexpr (STAGE > 0) {
        exchange<N, STAGE, STAGE - 1, COLUMNS>(v, thread, column, shared);
        backward<N, COLUMNS, STAGE - 1>(v, thread, column, shared, roots);
    }
}

// The roots of unity exp(−2πi k/N), behind the exchange's numbers in shared memory: from there they cost no registers.
__device__ __forceinline__ const float2* roots_in(float2* copy, const float2* roots, int N) {
    for (int k = threadIdx.x; k < N; k += blockDim.x) copy[k] = roots[k];
    __syncthreads();
    return copy;
}

// columns and threads of a tile, and its numbers in shared memory
template <int N> __device__ constexpr int columns_of() { return N <= 256 ? 8 : 2048 / N; }
template <int N> __device__ constexpr int threads_of() { return columns_of<N>() * N / POINTS; }
template <int N> __device__ constexpr int numbers_of() { return columns_of<N>() * (N + N / 8); }

template <int N> __device__ __forceinline__ void load_column(float2* v, const float2* spectrum, int stride, int thread) {
#pragma unroll
    for (int i = 0; i < POINTS; ++i) v[i] = spectrum[(size_t)place_of<N, 0>(thread, i) * stride];
}
template <int N> __device__ __forceinline__ void store_column(const float2* v, float2* spectrum, int stride, int thread) {
#pragma unroll
    for (int i = 0; i < POINTS; ++i) spectrum[(size_t)place_of<N, 0>(thread, i) * stride] = v[i];
}

// m̂ → −N m̂ of a tile of columns in two components: mx and my, which meet halfway, or mz and mz of the next tile.
// stride: of a row in the spectrum. tensor: (4, N, stride), divided by the cells.
// Grid: (tiles, slots, 2); the tiles of mz are done two by two.
template <int N> __device__ __forceinline__ void demag_columns(float2* all, const float* tensor, const float2* all_roots,
                                                               const Report* reports, int stride) {
    extern __shared__ float2 all_shared[];
    constexpr int C = columns_of<N>(), T = threads_of<N>(), LAST = stages<N>() - 1;
    int slot = blockIdx.y, second = threadIdx.x / T, tile = blockIdx.z ? 2 * blockIdx.x + second : blockIdx.x;
    if (reports[slot].mode != RUNNING || (blockIdx.z && 2 * blockIdx.x >= gridDim.x)) return;
    const float2* roots = roots_in(all_shared + 2 * numbers_of<N>(), all_roots, N);
    int column = threadIdx.x % C, thread = threadIdx.x % T / C, kx = tile * C + column;
    bool outside = kx >= stride;  // of an odd number of tiles
    if (outside) kx = 0;
    float2 *shared = all_shared + second * numbers_of<N>(), *others = all_shared + (1 - second) * numbers_of<N>();
    size_t component = (size_t)N * stride;
    float2* spectrum = all + (slot * 3 + (blockIdx.z ? 2 : second)) * component + kx;
    float2 v[POINTS];
    load_column<N>(v, spectrum, stride, thread);
    forward<N, C>(v, thread, column, shared, roots);
    if (blockIdx.z == 0) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < POINTS; ++i) shared[i * T + threadIdx.x % T] = v[i];
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
        const float* n = tensor + (size_t)frequency<N>(place_of<N, LAST>(thread, i)) * stride + kx;
        float own = n[(blockIdx.z ? 2 : second) * component];
        v[i] = make_float2(-own * v[i].x, -own * v[i].y);
        if (blockIdx.z == 0) {
            float xy = n[3 * component];
            float2 other = others[i * T + threadIdx.x % T];
            v[i] = make_float2(v[i].x - xy * other.x, v[i].y - xy * other.y);
        }
    }
    backward<N, C>(v, thread, column, shared, roots);
    if (!outside) store_column<N>(v, spectrum, stride, thread);
}

// f̂ → P f̂ of one tile of columns, and the tile's part of f·P f. Grid: (tiles, slots, 3 components).
template <int N> __device__ __forceinline__ void precondition_columns(float2* all, const float* symbol_x,
                                                                      const float* symbol_y, const float2* all_roots,
                                                                      const Film* films, const Report* reports,
                                                                      double* partial, int stride, int nx) {
    extern __shared__ float2 all_shared[];
    float2* shared = all_shared;
    constexpr int C = columns_of<N>(), LAST = stages<N>() - 1;
    int slot = blockIdx.y;
    if (reports[slot].mode != RUNNING) return;
    const float2* roots = roots_in(shared + numbers_of<N>(), all_roots, N);
    int column = threadIdx.x % C, thread = threadIdx.x / C, kx = blockIdx.x * C + column;
    float2* spectrum = all + ((size_t)slot * 3 + blockIdx.z) * N * stride + kx;
    float2 a[POINTS];
    load_column<N>(a, spectrum, stride, thread);
    forward<N, C>(a, thread, column, shared, roots);
    float along_x = films[slot].stiffness + films[slot].exchange_x * symbol_x[kx], along_y = films[slot].exchange_y;
    float scale = 1.0f / ((float)nx * N), power = 0;
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
        float p = scale / (along_x + along_y * symbol_y[frequency<N>(place_of<N, LAST>(thread, i))]);
        power += p * (a[i].x * a[i].x + a[i].y * a[i].y);
        a[i] = make_float2(p * a[i].x, p * a[i].y);
    }
    backward<N, C>(a, thread, column, shared, roots);
    store_column<N>(a, spectrum, stride, thread);
    // the half spectrum stands for its mirror image; columns beyond it are padding
    double sum[1] = {2 * kx > nx ? 0.0 : (kx == 0 || 2 * kx == nx ? 1.0 : 2.0) * power};
    block_sum(sum, partial + ((size_t)slot * 3 + blockIdx.z) * gridDim.x + blockIdx.x);
}

#define COLUMNS_OF(N)                                                                                               \
    extern "C" __global__ void __launch_bounds__(2 * threads_of<N>(), 1024 / (2 * threads_of<N>()))                 \
        demag_columns_##N(float2* spectrum, const float* tensor, const float2* roots, const Report* reports,        \
                          int stride) {                                                                             \
        demag_columns<N>(spectrum, tensor, roots, reports, stride);                                                 \
    }                                                                                                               \
    extern "C" __global__ void __launch_bounds__(threads_of<N>(), 1024 / threads_of<N>())                           \
        precondition_columns_##N(float2* spectrum, const float* symbol_x, const float* symbol_y,                    \
                                 const float2* roots, const Film* films, const Report* reports, double* partial,    \
                                 int stride, int nx) {                                                              \
        precondition_columns<N>(spectrum, symbol_x, symbol_y, roots, films, reports, partial, stride, nx);          \
    }

COLUMNS_OF(64)
COLUMNS_OF(128)
COLUMNS_OF(256)
COLUMNS_OF(512)
COLUMNS_OF(1024)
