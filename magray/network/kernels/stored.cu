// The blocks behind the first one: v is read, as a convolution has left it, (pictures, SIDE, SIDE, CHANNELS), and gets
// its bias here.
//
// parameters: (CHANNELS,), the biases. Defined by blocks.py: COLUMNS: how many pooled pixels a block of threads has at a
// time; ROWS: how often.

#define PARAMETERS 1

// The four that make a pooled pixel: where the i-th has its pair of channels.
struct Four {
    size_t first;
    __device__ __forceinline__ Four(int pixel) {
        int row = pixel / POOLED, column = pixel % POOLED;  // rows of all pictures, one after another
        first = ((size_t)(2 * row) * SIDE + 2 * column) * PAIRS + my_pair();
    }
    __device__ __forceinline__ size_t operator()(int i) const { return first + (i / 2 * SIDE + i % 2) * PAIRS; }
};

using Beside = Four;  // what passes.cu has no use for

// Calls use(pooled pixel, where its four are, v) for each pooled pixel of this thread; v: 2 channels, 2 × 2 neighbours.
template <class Use>
__device__ __forceinline__ void for_each_pool(const Number* outputs, const float* parameters, int pictures, Use use) {
    float bias[2] = {parameters[2 * my_pair()], parameters[2 * my_pair() + 1]};
    int first = blockIdx.x * ROWS * COLUMNS + threadIdx.x / PAIRS;
    int end = min(first + ROWS * COLUMNS, pictures * POOLED * POOLED);
#pragma unroll 2
    for (int pixel = first; pixel < end; pixel += COLUMNS) {
        Four four(pixel);
        float v[2][4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            float2 both = unpacked(((const Pair*)outputs)[four(i)]);
            v[0][i] = both.x + bias[0];
            v[1][i] = both.y + bias[1];
        }
        use(pixel, four, v);
    }
}

// The last pass back: dL/dv, and its sum, dL/d bias. partial: (CHANNELS, blocks).
extern "C" __global__ void __launch_bounds__(THREADS)
gradients(const Number* __restrict__ outputs, const float* __restrict__ parameters, int pictures,
          const float* __restrict__ gains, const float* __restrict__ moments, const float* __restrict__ slopes,
          const Pair* __restrict__ g, float* partial, Pair* __restrict__ output_gradients) {
    int pair = my_pair();
    Slopes back[2] = {{gains, moments, slopes, 2 * pair}, {gains, moments, slopes, 2 * pair + 1}};
    float sum[2][PARAMETERS] = {};
    for_each_pool(outputs, parameters, pictures, [&](int pixel, const Four& four, const float(&v)[2][4]) {
        float2 from_above = unpacked(g[(size_t)pixel * PAIRS + pair]);
        float dv[2][4];
        back[0](v[0], from_above.x, dv[0]);
        back[1](v[1], from_above.y, dv[1]);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            output_gradients[four(i)] = packed(dv[0][i], dv[1][i]);
            sum[0][0] += dv[0][i];
            sum[1][0] += dv[1][i];
        }
    });
    add_up_block(sum, partial);
}
