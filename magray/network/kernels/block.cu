// A block of the network behind its convolution, in training: ReLU, batch norm, 2 × 2 max pool, of outputs v.
//
//     y = max(v, 0)     x = (y − mean) · inverse_spread     z = gain · x + offset     out = the largest z of 2 × 2
//
// mean and 1 / inverse_spread² − epsilon are the average and the variance of all y of a channel: N = pictures · SIDE².
// Back, where g is dL/d out for the one of four that became out, and 0 for the other three:
//
//     dL/d offset = Σ g     dL/d gain = Σ g x     dL/dv = gain · inverse_spread · (g − (Σ g + x Σ g x) / N), 0 if v < 0
//
// So there are two passes each way, one for sums over the batch and one that uses them. A thread has two neighbouring
// channels. Sums are made in an order that depends on nothing but shapes: the same batch gives the same bits.
//
// Defined by blocks.py: CHANNELS, SIDE: of v. BFLOAT16: what pictures, outputs and their gradients are stored as, where
// arithmetic is in float. THREADS: of a block. Behind this file comes the one that says where v comes from, views.cu or
// stored.cu, and then passes.cu.

#define WARP 32
#define PAIRS (CHANNELS / 2)
#define POOLED (SIDE / 2)

#if BFLOAT16
using Number = unsigned short;
using Pair = unsigned int;
__device__ __forceinline__ float number(Number n) { return __uint_as_float((unsigned int)n << 16); }
__device__ __forceinline__ float2 unpacked(Pair p) {
    return make_float2(__uint_as_float(p << 16), __uint_as_float(p & 0xffff0000u));
}
// To the nearest, to even from halfway; what is not a number stays none.
__device__ __forceinline__ unsigned int rounded(float v) {
    unsigned int bits = __float_as_uint(v);
    return v == v ? (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16 : 0x7fc0u;
}
__device__ __forceinline__ Pair packed(float a, float b) { return rounded(a) | rounded(b) << 16; }
#else
using Number = float;
using Pair = float2;
__device__ __forceinline__ float number(Number n) { return n; }
__device__ __forceinline__ float2 unpacked(Pair p) { return p; }
__device__ __forceinline__ Pair packed(float a, float b) { return make_float2(a, b); }
#endif

__device__ __forceinline__ int my_pair() { return threadIdx.x % PAIRS; }
__device__ __forceinline__ float rectified(float v) { return v < 0 ? 0.0f : v; }  // fmaxf would hide what is no number

// One channel's norm. moments: mean of all channels, then inverse_spread of all.
struct Norm {
    float gain, offset, mean, inverse_spread;
    __device__ __forceinline__ Norm(const float* gains, const float* offsets, const float* moments, int channel)
        : gain(gains[channel]), offset(offsets[channel]), mean(moments[channel]),
          inverse_spread(moments[CHANNELS + channel]) {}
    __device__ __forceinline__ float operator()(float y) const { return gain * inverse_spread * (y - mean) + offset; }
};

// The v whose z is the largest of four: the largest v, or the smallest if z falls with v; the first of equals.
struct Largest {
    int at;
    float v;
    __device__ __forceinline__ Largest(const float (&four)[4], float gain) {
        float sign = (gain > 0) - (gain < 0), best = sign * four[0];
        at = 0;
        v = four[0];
#pragma unroll
        for (int i = 1; i < 4; ++i) {
            float rival = sign * four[i];
            if (rival > best) {
                best = rival;
                at = i;
                v = four[i];
            }
        }
    }
};

// dL/dv = of_largest · g + level + tilt · y of one channel. slopes: level of all channels, then tilt of all.
struct Slopes {
    float gain, of_largest, level, tilt;
    __device__ __forceinline__ Slopes(const float* gains, const float* moments, const float* slopes, int channel)
        : gain(gains[channel]), of_largest(gains[channel] * moments[CHANNELS + channel]), level(slopes[channel]),
          tilt(slopes[CHANNELS + channel]) {}
    __device__ __forceinline__ void operator()(const float (&v)[4], float g, float (&out)[4]) const {
        int largest = Largest(v, gain).at;
#pragma unroll
        for (int i = 0; i < 4; ++i)
            out[i] = v[i] > 0 ? level + tilt * v[i] + (i == largest ? of_largest * g : 0.0f) : 0.0f;
    }
};

// Adds up N numbers of each channel over a block. partial: (CHANNELS, N, blocks).
template <int N> __device__ __forceinline__ void add_up_block(float (&value)[2][N], float* partial) {
    constexpr int LANES = PAIRS < WARP ? PAIRS : WARP, PARTS = THREADS / WARP * LANES;  // what lanes leave of warps
    __shared__ float shared[2 * N][PARTS];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
    for (int q = 0; q < 2 * N; ++q) {
        float& mine = value[q / N][q % N];
        for (int d = LANES; d < WARP; d *= 2) mine += __shfl_xor_sync(0xffffffffu, mine, d);
        if (lane < LANES) shared[q][warp * LANES + lane] = mine;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 2 * N * PAIRS; i += THREADS) {
        int q = i / PAIRS, pair = i % PAIRS, channel = 2 * pair + q / N;
        float sum = 0;
        for (int part = pair; part < PARTS; part += PAIRS) sum += shared[q][part];
        partial[(size_t)(channel * N + q % N) * gridDim.x + blockIdx.x] = sum;
    }
}
