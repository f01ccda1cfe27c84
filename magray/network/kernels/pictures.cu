// Pictures of crops from films, as rendering.render makes them: exact averages over the cells under each pixel.
//
// A pixel covers side/VIEW cells each way. In units of 1/VIEW of a cell all lengths are whole numbers, and so are the
// weights of the cells. A block of threads makes a square tile of pixels: it reads the film along its rows, whichever
// way the picture is turned, and turns the tile in shared memory.
//
// Defined by pictures.py: VIEW: pixels of a picture's side. TILE: of a tile's. THREADS: of a block. BFLOAT16: or float.

#if BFLOAT16
using Number = unsigned short;
__device__ __forceinline__ Number stored(float v) {
    unsigned int bits = __float_as_uint(v);
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;  // to the nearest, to even from halfway
}
#else
using Number = float;
__device__ __forceinline__ Number stored(float v) { return v; }
#endif

// Row and column in the unturned square of 0…last of a place in the turned and mirrored one.
__device__ __forceinline__ void turn_back(int orientation, int last, int& row, int& column) {
    int j = orientation / 4 % 2 ? last - column : column, i = row;
    switch (orientation % 4) {
        case 0: row = i, column = j; break;
        case 1: row = j, column = last - i; break;
        case 2: row = last - i, column = last - j; break;
        default: row = last - j, column = i;
    }
}

// The cells that a pixel covers, along one axis.
struct Span {
    int begin, end;  // 1/VIEW cells from the crop's edge
    __device__ __forceinline__ Span(int pixel, int side) : begin(pixel * side), end(pixel * side + side) {}
    __device__ __forceinline__ int first() const { return begin / VIEW; }
    __device__ __forceinline__ int behind() const { return (end + VIEW - 1) / VIEW; }
    __device__ __forceinline__ unsigned int share(int cell) const {
        return min(end, (cell + 1) * VIEW) - max(begin, cell * VIEW);
    }
};

// 0…255: the average over the pixel at (row, column) of an unturned crop. The film is periodic.
__device__ __forceinline__ float grey(const unsigned char* film, int height, int width, int side, int top, int left,
                                      int row, int column) {
    Span down(row, side), across(column, side);
    unsigned long long sum = 0;
    for (int y = down.first(); y < down.behind(); ++y) {
        const unsigned char* cells = film + (size_t)(top + y < height ? top + y : top + y - height) * width;
        unsigned int line = 0;
        for (int x = across.first(); x < across.behind(); ++x)
            line += across.share(x) * cells[left + x < width ? left + x : left + x - width];
        sum += (unsigned long long)down.share(y) * line;
    }
    return (float)sum / ((float)side * side);
}

// crops: (pictures, 5): side, film, row, column, orientation (quarter turns, + 4 if mirrored, + 8 if inverted). Grid:
// (tiles of a picture, pictures). out: (pictures, VIEW, VIEW), −1…1.
extern "C" __global__ void __launch_bounds__(THREADS)
pictures(const unsigned char* __restrict__ films, const long long* __restrict__ crops, int height, int width,
         Number* __restrict__ out) {
    __shared__ float tile[TILE][TILE + 1];
    const long long* crop = crops + 5 * blockIdx.y;
    int side = (int)crop[0], top = (int)crop[2], left = (int)crop[3], orientation = (int)crop[4];
    const unsigned char* film = films + (size_t)crop[1] * height * width;
    int tile_row = blockIdx.x / (VIEW / TILE), tile_column = blockIdx.x % (VIEW / TILE);
    Number* picture = out + ((size_t)blockIdx.y * VIEW + tile_row * TILE) * VIEW + tile_column * TILE;
    turn_back(orientation, VIEW / TILE - 1, tile_row, tile_column);
    int column = threadIdx.x % TILE;
    for (int row = threadIdx.x / TILE; row < TILE; row += THREADS / TILE)
        tile[row][column] =
            grey(film, height, width, side, top, left, tile_row * TILE + row, tile_column * TILE + column);
    __syncthreads();
    float factor = orientation / 8 % 2 ? -1.0f : 1.0f;
    for (int row = threadIdx.x / TILE; row < TILE; row += THREADS / TILE) {
        int i = row, j = column;
        turn_back(orientation, TILE - 1, i, j);
        picture[row * VIEW + column] = stored((tile[i][j] / 127.5f - 1.0f) * factor);
    }
}
