// What happens to the films in Fourier space; compiled behind film.cu, whose structs and sums it uses.
//
// Two ways: between whole transforms by cuFFT, of any size; or by the transforms of 32 to 1024 = 2^n numbers below, of
// which columns.cu and rows.cu make passes over memory with all that belongs between, before and behind them.

// ---------------------------------------------------------------- between whole transforms

// m̂ → −N m̂, in place. tensors: (places, 4, ny/2+1, nk) for Nxx, Nyy, Nzz, Nxy, already divided by the number of cells.
// Grid: (blocks over waves, slots).
extern "C" __global__ void demag(float2* spectrum, const float* tensors, const Film* films, const Report* reports,
                                 int mode, int ny, int nk) {
    int slot = blockIdx.y, waves = ny * nk, part = (ny / 2 + 1) * nk;
    if (reports[slot].mode != mode) return;
    const float* tensor = tensors + (size_t)films[slot].tensor * 4 * part;
    float2* sx = spectrum + (size_t)slot * 3 * waves;
    float2 *sy = sx + waves, *sz = sy + waves;
    for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < waves; k += gridDim.x * blockDim.x) {
        int ky = k / nk, at = 2 * ky > ny ? k + (ny - 2 * ky) * nk : k;  // even in ky, Nxy odd
        float xx = tensor[at], yy = tensor[part + at], zz = tensor[2 * part + at], xy = tensor[3 * part + at];
        if (2 * ky > ny) xy = -xy;
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

// ---------------------------------------------------------------- a transform of N numbers by N / 16 threads
//
// N = 16 · SECOND · SPLIT. Thread t begins with the numbers t + THREADS·i, i < 16. A stage of radix 16 joins them; the
// numbers change threads through shared memory; a stage of radix SECOND joins those that a thread then has, and one of
// radix SPLIT those of SPLIT neighbouring threads, by shuffles. The thread ends with the frequencies frequency<N>(t, i).
// Back is the same in reverse, and neither way divides by N.

#define POINTS 16
#define ALL_LANES 0xffffffffu

template <int N> struct Transform {
    static constexpr int THREADS = N / POINTS;
    static constexpr int SPLIT = N > 256 ? N / 256 : 1;
    static constexpr int SECOND = THREADS / SPLIT;
    static constexpr int GROUPS = POINTS / SECOND;  // of the second stage, in a thread
};

template <int N> __device__ __forceinline__ int frequency(int t, int i) {
    constexpr int SPLIT = Transform<N>::SPLIT;
    int s = t % SPLIT, last = SPLIT == 4 ? s / 2 + s % 2 * 2 : s;
    return t / SPLIT + Transform<N>::SECOND * i + 256 * last;
}

__device__ __forceinline__ float2 operator+(float2 a, float2 b) { return make_float2(a.x + b.x, a.y + b.y); }
__device__ __forceinline__ float2 operator-(float2 a, float2 b) { return make_float2(a.x - b.x, a.y - b.y); }
__device__ __forceinline__ float2 conjugate(float2 a) { return make_float2(a.x, -a.y); }
// a · b, or a · conj(b)
template <bool BACK> __device__ __forceinline__ float2 times(float2 a, float2 b) {
    return BACK ? make_float2(a.x * b.x + a.y * b.y, a.y * b.x - a.x * b.y)
                : make_float2(a.x * b.x - a.y * b.y, a.y * b.x + a.x * b.y);
}
// −i a forward, i a back
template <bool BACK> __device__ __forceinline__ float2 quarter(float2 a) {
    return BACK ? make_float2(-a.y, a.x) : make_float2(a.y, -a.x);
}
template <bool BACK> __device__ __forceinline__ float2 times(float2 a, float x, float y) {
    return times<BACK>(a, make_float2(x, y));
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
        odd[1] = times<BACK>(odd[1], h, -h);
        odd[2] = quarter<BACK>(odd[2]);
        odd[3] = times<BACK>(odd[3], -h, -h);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            v[k] = even[k] + odd[k];
            v[k + 4] = even[k] - odd[k];
        }
    }
};
template <bool BACK> struct Butterfly<16, BACK> {
    static __device__ __forceinline__ void apply(float2* v) {
        const float h = 0.70710678118654752f, c = 0.92387953251128676f, s = 0.38268343236508977f;
        float2 u[4][4];
#pragma unroll
        for (int i = 0; i < 16; ++i) u[i % 4][i / 4] = v[i];
#pragma unroll
        for (int j = 0; j < 4; ++j) Butterfly<4, BACK>::apply(u[j]);
        u[1][1] = times<BACK>(u[1][1], c, -s);
        u[1][2] = times<BACK>(u[1][2], h, -h);
        u[1][3] = times<BACK>(u[1][3], s, -c);
        u[2][1] = times<BACK>(u[2][1], h, -h);
        u[2][2] = quarter<BACK>(u[2][2]);
        u[2][3] = times<BACK>(u[2][3], -h, -h);
        u[3][1] = times<BACK>(u[3][1], s, -c);
        u[3][2] = times<BACK>(u[3][2], -h, -h);
        u[3][3] = times<BACK>(u[3][3], -c, s);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            float2 w[4] = {u[0][k], u[1][k], u[2][k], u[3][k]};
            Butterfly<4, BACK>::apply(w);
#pragma unroll
            for (int j = 0; j < 4; ++j) v[k + 4 * j] = w[j];
        }
    }
};

// Otherwise the compiler keeps one transform's roots for the next, and is short of registers.
__device__ __forceinline__ void forget() { asm volatile("" ::: "memory"); }

// roots: exp(−2πi r t / N) at r · THREADS + t, r < 16: neighbouring threads read neighbouring numbers.
template <int N, bool BACK> __device__ __forceinline__ void first_twiddle(float2* v, int t, const float2* roots) {
    forget();
#pragma unroll
    for (int r = 1; r < POINTS; ++r) v[r] = times<BACK>(v[r], roots[r * Transform<N>::THREADS + t]);
}
template <int N, bool BACK> __device__ __forceinline__ void second_twiddle(float2* v, int t, const float2* roots) {
    forget();
    const float2* own = roots + t % Transform<N>::SPLIT * POINTS;
#pragma unroll
    for (int r = 1; r < POINTS; ++r) v[r] = times<BACK>(v[r], own[r * Transform<N>::THREADS]);
}
template <int N, bool BACK> __device__ __forceinline__ void second_butterflies(float2* v) {
    constexpr int R = Transform<N>::SECOND, G = Transform<N>::GROUPS;
#pragma unroll
    for (int g = 0; g < G; ++g) {
        float2 u[R];
#pragma unroll
        for (int r = 0; r < R; ++r) u[r] = v[g + G * r];
        Butterfly<R, BACK>::apply(u);
#pragma unroll
        for (int r = 0; r < R; ++r) v[g + G * r] = u[r];
    }
}

__device__ __forceinline__ float2 shuffle_xor(float2 v, int mask) {
    return make_float2(__shfl_xor_sync(ALL_LANES, v.x, mask), __shfl_xor_sync(ALL_LANES, v.y, mask));
}
// Sums and differences with another thread's numbers.
__device__ __forceinline__ void join(float2* v, int lanes, bool upper) {
    float sign = upper ? -1.0f : 1.0f;
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
        float2 other = shuffle_xor(v[i], lanes);
        v[i] = make_float2(sign * v[i].x + other.x, sign * v[i].y + other.y);
    }
}
// The stage of radix SPLIT. LANES: from thread t to t + 1.
template <int SPLIT, int LANES, bool BACK> __device__ __forceinline__ void join_neighbours(float2* v, int t) {
    if constexpr (SPLIT == 2) join(v, LANES, t % 2);
    if constexpr (SPLIT == 4) {
        join(v, BACK ? LANES : 2 * LANES, BACK ? t % 2 : t % 4 / 2);
        bool turned = t % 4 == 3;
#pragma unroll
        for (int i = 0; i < POINTS; ++i) v[i] = turned ? quarter<BACK>(v[i]) : v[i];
        join(v, BACK ? 2 * LANES : LANES, BACK ? t % 4 / 2 : t % 2);
    }
}

// The exchange between the stages, of transforms that lie COLUMNS to a line in shared memory: where thread t has its
// i-th number on the first stage's side and on the second's. PAD keeps the lanes of a warp on different banks.
template <int N, int COLUMNS> struct Exchange : Transform<N> {
    using Transform<N>::THREADS, Transform<N>::SPLIT, Transform<N>::SECOND, Transform<N>::GROUPS;
    static constexpr int PAD = COLUMNS > 1 && SPLIT > 1 ? 0 : SPLIT;
    static constexpr int LINE = THREADS + PAD;
    static constexpr int NUMBERS = POINTS * LINE * COLUMNS;
    static __device__ __forceinline__ int first(int t, int i) { return (i * LINE + t) * COLUMNS; }
    static __device__ __forceinline__ int second(int t, int i) {
        return ((t / SPLIT + SECOND * (i % GROUPS)) * LINE + t % SPLIT + SPLIT * (i / GROUPS)) * COLUMNS;
    }
};

template <int N, int COLUMNS>
__device__ __forceinline__ void forward_until_exchange(float2* v, int t, float2* shared, const float2* roots) {
    Butterfly<16, false>::apply(v);
    first_twiddle<N, false>(v, t, roots);
#pragma unroll
    for (int i = 0; i < POINTS; ++i) shared[Exchange<N, COLUMNS>::first(t, i)] = v[i];
}
template <int N, int COLUMNS>
__device__ __forceinline__ void forward_from_exchange(float2* v, int t, const float2* shared, const float2* roots) {
#pragma unroll
    for (int i = 0; i < POINTS; ++i) v[i] = shared[Exchange<N, COLUMNS>::second(t, i)];
    second_butterflies<N, false>(v);
    if constexpr (Transform<N>::SPLIT > 1) {
        second_twiddle<N, false>(v, t, roots);
        join_neighbours<Transform<N>::SPLIT, COLUMNS, false>(v, t);
    }
}
// A thread writes where it alone has read on the way forward.
template <int N, int COLUMNS>
__device__ __forceinline__ void back_until_exchange(float2* v, int t, float2* shared, const float2* roots) {
    if constexpr (Transform<N>::SPLIT > 1) {
        join_neighbours<Transform<N>::SPLIT, COLUMNS, true>(v, t);
        second_twiddle<N, true>(v, t, roots);
    }
    second_butterflies<N, true>(v);
#pragma unroll
    for (int i = 0; i < POINTS; ++i) shared[Exchange<N, COLUMNS>::second(t, i)] = v[i];
}
template <int N, int COLUMNS>
__device__ __forceinline__ void back_from_exchange(float2* v, int t, const float2* shared, const float2* roots) {
#pragma unroll
    for (int i = 0; i < POINTS; ++i) v[i] = shared[Exchange<N, COLUMNS>::first(t, i)];
    first_twiddle<N, true>(v, t, roots);
    Butterfly<16, true>::apply(v);
}
