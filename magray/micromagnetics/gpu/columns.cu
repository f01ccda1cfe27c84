// The columns of a spectrum there and back in one pass over memory, for films of NX × NY cells, both 64 to 1024 = 2^n;
// compiled behind fourier.cu. A block has a tile of neighbouring columns, so that it reads 64 bytes of a row at a time.

#define STRIDE (NX / 2 + 8)          // of a row in the spectrum: rows begin at multiples of 64 bytes
#define COLUMNS (NY < 1024 ? 8 : 4)  // of a tile
#define COLUMN_THREADS (COLUMNS * NY / POINTS)
#define TILES (STRIDE / COLUMNS)

using Column = Exchange<NY, COLUMNS>;

__device__ __forceinline__ void load_column(float2* v, const float2* column, int t) {
#pragma unroll
    for (int i = 0; i < POINTS; ++i) v[i] = column[(t + Column::THREADS * i) * STRIDE];
}
__device__ __forceinline__ void store_column(const float2* v, float2* column, int t) {
#pragma unroll
    for (int i = 0; i < POINTS; ++i) column[(t + Column::THREADS * i) * STRIDE] = v[i];
}

// A thread's i-th frequency ky, folded to where the tensor has it: N is even in ky, Nxy odd.
#define TENSOR_ROWS (NY / 2 + 1)
__device__ __forceinline__ float tensor_sign(int t, int i) {
    return (Column::SPLIT > 1 ? t % 2 : i >= POINTS / 2) ? -1.0f : 1.0f;
}
__device__ __forceinline__ int tensor_row(int t, int i) {
    int sign = (int)tensor_sign(t, i), first = frequency<NY>(t, 0);
    return (sign < 0 ? NY - first : first) + sign * Column::SECOND * i;
}

// m̂ → −N m̂, for mx and my together and for mz; n: the tensor's first row at the thread's column.
__device__ __forceinline__ void multiply_in_plane(float2* x, float2* y, const float* n, int t) {
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
        if (i % 8 == 0) forget();  // more of the tensor at a time would cost registers that there are not
        const float* p = n + tensor_row(t, i) * STRIDE;
        float xx = p[0], yy = p[TENSOR_ROWS * STRIDE], xy = tensor_sign(t, i) * p[3 * TENSOR_ROWS * STRIDE];
        float2 a = x[i], b = y[i];
        x[i] = make_float2(-xx * a.x - xy * b.x, -xx * a.y - xy * b.y);
        y[i] = make_float2(-xy * a.x - yy * b.x, -xy * a.y - yy * b.y);
    }
}
__device__ __forceinline__ void multiply_out_of_plane(float2* z, const float* n, int t) {
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
        float zz = n[(2 * TENSOR_ROWS + tensor_row(t, i)) * STRIDE];
        z[i] = make_float2(-zz * z[i].x, -zz * z[i].y);
    }
}

// m̂ → −N m̂ of two tiles: the same columns of mx and my, or neighbouring tiles of mz. tensors: (places, 4, TENSOR_ROWS,
// STRIDE), divided by the cells. Grid: (TILES of mx and my, then half as many of mz; slots).
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, 512 / COLUMN_THREADS)
demag_columns(float2* spectrum, const float* __restrict__ tensors, const float2* roots, const Film* films,
              const Report* reports, int mode) {
    extern __shared__ float2 all_shared[];
    int slot = gridDim.y - 1 - blockIdx.y;  // backwards: what the rows wrote last may still be in the cache
    if (reports[slot].mode != mode) return;
    bool in_plane = blockIdx.x < TILES;
    int t = threadIdx.x / COLUMNS, tile = in_plane ? blockIdx.x : 2 * (blockIdx.x - TILES);
    int kx = tile * COLUMNS + threadIdx.x % COLUMNS;
    int next = in_plane ? NY * STRIDE : tile + 1 < TILES ? COLUMNS : 0;  // a last tile of mz alone is done twice
    int first = (slot * 3 + (in_plane ? 0 : 2)) * NY * STRIDE + kx;
    float2 *shared = all_shared + threadIdx.x % COLUMNS, *shared_too = shared + Column::NUMBERS;
    float2 a[POINTS], b[POINTS];
    load_column(a, spectrum + first, t);
    load_column(b, spectrum + first + next, t);
    forward_until_exchange<NY, COLUMNS>(a, t, shared, roots);
    forward_until_exchange<NY, COLUMNS>(b, t, shared_too, roots);
    __syncthreads();
    forward_from_exchange<NY, COLUMNS>(a, t, shared, roots);
    forward_from_exchange<NY, COLUMNS>(b, t, shared_too, roots);
    const float* n = tensors + (size_t)films[slot].tensor * 4 * TENSOR_ROWS * STRIDE + kx;
    if (in_plane) {
        multiply_in_plane(a, b, n, t);
    } else {
        multiply_out_of_plane(a, n, t);
        multiply_out_of_plane(b, n + next, t);
    }
    back_until_exchange<NY, COLUMNS>(a, t, shared, roots);
    back_until_exchange<NY, COLUMNS>(b, t, shared_too, roots);
    __syncthreads();
    back_from_exchange<NY, COLUMNS>(a, t, shared, roots);
    store_column(a, spectrum + first, t);
    back_from_exchange<NY, COLUMNS>(b, t, shared_too, roots);
    if (next) store_column(b, spectrum + first + next, t);
}

// f̂ → P f̂ of a tile, and the tile's part of f·P f. Grid: (TILES of each component, slots).
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, 768 / COLUMN_THREADS)
precondition_columns(float2* spectrum, const float* __restrict__ symbol_x, const float* __restrict__ symbol_y,
                     const float2* roots, const Film* films, const Report* reports, double* partial) {
    extern __shared__ float2 all_shared[];
    int slot = gridDim.y - 1 - blockIdx.y;
    if (reports[slot].mode != RUNNING) return;
    int t = threadIdx.x / COLUMNS, kx = blockIdx.x % TILES * COLUMNS + threadIdx.x % COLUMNS;
    int first = (slot * 3 + (int)blockIdx.x / TILES) * NY * STRIDE + kx;
    float2* shared = all_shared + threadIdx.x % COLUMNS;
    float2 v[POINTS];
    load_column(v, spectrum + first, t);
    forward_until_exchange<NY, COLUMNS>(v, t, shared, roots);
    __syncthreads();
    forward_from_exchange<NY, COLUMNS>(v, t, shared, roots);
    float along_x = films[slot].stiffness + films[slot].exchange_x * symbol_x[kx], along_y = films[slot].exchange_y;
    float scale = 1.0f / ((float)NX * NY), power = 0;
    const float* along = symbol_y + frequency<NY>(t, 0);
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
        float p = __fdividef(scale, along_x + along_y * along[Column::SECOND * i]);
        power += p * (v[i].x * v[i].x + v[i].y * v[i].y);
        v[i] = make_float2(p * v[i].x, p * v[i].y);
    }
    back_until_exchange<NY, COLUMNS>(v, t, shared, roots);
    __syncthreads();
    back_from_exchange<NY, COLUMNS>(v, t, shared, roots);
    store_column(v, spectrum + first, t);
    // the half spectrum stands for its mirror image; columns beyond it are padding
    double sum[1] = {2 * kx > NX ? 0.0 : (kx == 0 || 2 * kx == NX ? 1.0 : 2.0) * power};
    block_sum(sum, partial + (size_t)slot * gridDim.x + blockIdx.x);
}
