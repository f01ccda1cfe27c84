// The passes that are alike in all blocks; see block.cu. for_each_pool brings v, computed from views or read.

// There, first: Σ y and Σ y² of each channel. partial: (CHANNELS, 2, blocks).
extern "C" __global__ void __launch_bounds__(THREADS)
statistics(const Number* __restrict__ input, const float* __restrict__ parameters, int pictures, float* partial) {
    float sum[2][2] = {};
    for_each_pool(input, parameters, pictures, [&](int, const Beside&, const float(&v)[2][4]) {
#pragma unroll
        for (int c = 0; c < 2; ++c)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                float y = rectified(v[c][i]);
                sum[c][0] += y;
                sum[c][1] += y * y;
            }
    });
    add_up_block(sum, partial);
}

// There, second: the pooled outputs, (pictures, POOLED, POOLED, CHANNELS).
extern "C" __global__ void __launch_bounds__(THREADS)
pool(const Number* __restrict__ input, const float* __restrict__ parameters, int pictures,
     const float* __restrict__ gains, const float* __restrict__ offsets, const float* __restrict__ moments,
     Pair* __restrict__ out) {
    int pair = my_pair();
    Norm norm[2] = {{gains, offsets, moments, 2 * pair}, {gains, offsets, moments, 2 * pair + 1}};
    for_each_pool(input, parameters, pictures, [&](int pixel, const Beside&, const float(&v)[2][4]) {
        float z[2];
#pragma unroll
        for (int c = 0; c < 2; ++c) z[c] = norm[c](rectified(Largest(v[c], norm[c].gain).v));
        out[(size_t)pixel * PAIRS + pair] = packed(z[0], z[1]);
    });
}

// Back, first: Σ g and Σ g y of each channel. partial: (CHANNELS, 2, blocks).
extern "C" __global__ void __launch_bounds__(THREADS)
gradient_sums(const Number* __restrict__ input, const float* __restrict__ parameters, int pictures,
              const float* __restrict__ gains, const Pair* __restrict__ g, float* partial) {
    int pair = my_pair();
    float gain[2] = {gains[2 * pair], gains[2 * pair + 1]}, sum[2][2] = {};
    for_each_pool(input, parameters, pictures, [&](int pixel, const Beside&, const float(&v)[2][4]) {
        float2 both = unpacked(g[(size_t)pixel * PAIRS + pair]);
        float from_above[2] = {both.x, both.y};
#pragma unroll
        for (int c = 0; c < 2; ++c) {
            sum[c][0] += from_above[c];
            sum[c][1] += from_above[c] * rectified(Largest(v[c], gain[c]).v);
        }
    });
    add_up_block(sum, partial);
}

// ---------------------------------------------------------------- sums over all blocks of threads, in double precision

// The sum of `count` numbers, for all threads of a block.
__device__ __forceinline__ double total(const float* numbers, int count) {
    __shared__ double shared[THREADS];
    double sum = 0;
    for (int i = threadIdx.x; i < count; i += THREADS) sum += numbers[i];
    __syncthreads();  // a total before this one has been read
    shared[threadIdx.x] = sum;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    __syncthreads();
    return shared[0];
}

// A block of threads for each channel: its moments, in this batch and as a running average over batches,
// which are counted.
extern "C" __global__ void __launch_bounds__(THREADS)
finish_statistics(const float* partial, int blocks, int pictures, float epsilon, float momentum, float* moments,
                  float* running_mean, float* running_variance, long long* batches) {
    int channel = blockIdx.x;
    const float* mine = partial + (size_t)2 * channel * blocks;
    double n = (double)pictures * SIDE * SIDE;
    double mean = total(mine, blocks) / n, square = total(mine + blocks, blocks) / n;
    if (threadIdx.x) return;
    double variance = square - mean * mean;
    if (variance < 0) variance = 0;
    moments[channel] = (float)mean;
    moments[CHANNELS + channel] = (float)(1 / sqrt(variance + epsilon));
    if (channel == 0) ++*batches;
    running_mean[channel] += momentum * ((float)mean - running_mean[channel]);
    running_variance[channel] += momentum * ((float)(variance * n / (n - 1)) - running_variance[channel]);
}

// A block of threads for each channel: the norm's gradients, and the slopes of dL/dv that follow from them.
extern "C" __global__ void __launch_bounds__(THREADS)
finish_gradient_sums(const float* partial, int blocks, int pictures, const float* gains, const float* moments,
                     float* gain_gradients, float* offset_gradients, float* slopes) {
    int channel = blockIdx.x;
    const float* mine = partial + (size_t)2 * channel * blocks;
    double sum_g = total(mine, blocks), sum_gy = total(mine + blocks, blocks);
    if (threadIdx.x) return;
    double n = (double)pictures * SIDE * SIDE, mean = moments[channel], inverse_spread = moments[CHANNELS + channel];
    double sum_gx = (sum_gy - mean * sum_g) * inverse_spread, factor = gains[channel] * inverse_spread / n;
    offset_gradients[channel] = (float)sum_g;
    gain_gradients[channel] = (float)sum_gx;
    slopes[channel] = (float)(factor * (mean * inverse_spread * sum_gx - sum_g));
    slopes[CHANNELS + channel] = (float)(-factor * inverse_spread * sum_gx);
}

// A block of threads for each parameter: its gradient. partial: (CHANNELS, PARAMETERS, blocks).
extern "C" __global__ void __launch_bounds__(THREADS)
finish_gradients(const float* partial, int blocks, float* parameter_gradients) {
    double sum = total(partial + (size_t)blockIdx.x * blocks, blocks);
    if (threadIdx.x == 0) parameter_gradients[blockIdx.x] = (float)sum;
}
