// The first block: v is computed from the views in every pass, 9 products for each, and never stored. For 16 channels
// it would be 16 times the view; reading it would take longer than computing it again.
//
// A block of threads has a tile of a view in shared memory, with a rim of one pixel; a thread walks down a column of it,
// two pixels at a time, with a window of 4 × 4 pixels in registers.
//
// parameters: (CHANNELS, 10), a channel's 3 × 3 weights and its bias. Defined by blocks.py: COLUMNS, ROWS: of a tile, in
// pooled pixels; as many columns as threads for each pair of channels.

#define PARAMETERS 10
#define TILES_ACROSS (POOLED / COLUMNS)
#define TILES (TILES_ACROSS * (POOLED / ROWS))
#define WIDTH (2 * COLUMNS + 2)  // of a tile with its rim, in pixels
#define HEIGHT (2 * ROWS + 2)

using Window = float[4][4];
using Beside = Window;  // what passes.cu has no use for

__device__ __forceinline__ void load_tile(const Number* view, int top, int left, float* tile) {
    for (int i = threadIdx.x; i < HEIGHT * WIDTH; i += THREADS) {
        int y = top - 1 + i / WIDTH, x = left - 1 + i % WIDTH;
        bool inside = y >= 0 && y < SIDE && x >= 0 && x < SIDE;
        tile[i] = inside ? number(view[y * SIDE + x]) : 0.0f;
    }
}

__device__ __forceinline__ void load_row(const float2* tile, int row, int column, float (&out)[4]) {
    float2 a = tile[row * (WIDTH / 2) + column], b = tile[row * (WIDTH / 2) + column + 1];
    out[0] = a.x;
    out[1] = a.y;
    out[2] = b.x;
    out[3] = b.y;
}

// Calls use(pooled pixel, window, v) for each pooled pixel of this thread; v: 2 channels, 2 × 2 neighbours.
template <class Use>
__device__ __forceinline__ void for_each_pool(const Number* views, const float* parameters, int, Use use) {
    __shared__ float2 tile[HEIGHT * WIDTH / 2];
    int picture = blockIdx.x / TILES, part = blockIdx.x % TILES;
    int top = part / TILES_ACROSS * ROWS, left = part % TILES_ACROSS * COLUMNS, column = threadIdx.x / PAIRS;
    load_tile(views + (size_t)picture * SIDE * SIDE, 2 * top, 2 * left, (float*)tile);
    float weight[2][9], bias[2];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
        const float* mine = parameters + (2 * my_pair() + c) * PARAMETERS;
#pragma unroll
        for (int k = 0; k < 9; ++k) weight[c][k] = mine[k];
        bias[c] = mine[9];
    }
    __syncthreads();
    Window x;
    load_row(tile, 0, column, x[0]);
    load_row(tile, 1, column, x[1]);
    int pixel = (picture * POOLED + top) * POOLED + left + column;
#pragma unroll 2
    for (int row = 0; row < ROWS; ++row, pixel += POOLED) {
        load_row(tile, 2 * row + 2, column, x[2]);
        load_row(tile, 2 * row + 3, column, x[3]);
        float v[2][4];
#pragma unroll
        for (int c = 0; c < 2; ++c)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                v[c][i] = bias[c];
#pragma unroll
                for (int k = 0; k < 9; ++k) v[c][i] += weight[c][k] * x[i / 2 + k / 3][i % 2 + k % 3];
            }
        use(pixel, x, v);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            x[0][j] = x[2][j];
            x[1][j] = x[3][j];
        }
    }
}

// The last pass back: dL/d parameters, the sum of dL/dv times what v is a sum of. partial: (CHANNELS, 10, blocks).
extern "C" __global__ void __launch_bounds__(THREADS, 2)
gradients(const Number* __restrict__ views, const float* __restrict__ parameters, int pictures,
          const float* __restrict__ gains, const float* __restrict__ moments, const float* __restrict__ slopes,
          const Pair* __restrict__ g, float* partial) {
    int pair = my_pair();
    Slopes back[2] = {{gains, moments, slopes, 2 * pair}, {gains, moments, slopes, 2 * pair + 1}};
    float sum[2][PARAMETERS] = {};
    for_each_pool(views, parameters, pictures, [&](int pixel, const Window& x, const float(&v)[2][4]) {
        float2 from_above = unpacked(g[(size_t)pixel * PAIRS + pair]);
        float dv[2][4];
        back[0](v[0], from_above.x, dv[0]);
        back[1](v[1], from_above.y, dv[1]);
#pragma unroll
        for (int c = 0; c < 2; ++c)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
#pragma unroll
                for (int k = 0; k < 9; ++k) sum[c][k] += dv[c][i] * x[i / 2 + k / 3][i % 2 + k % 3];
                sum[c][9] += dv[c][i];
            }
    });
    add_up_block(sum, partial);
}
