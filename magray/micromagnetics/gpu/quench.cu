// The quench on a GPU; compiled after film.cu. The scheme is that of llg.py.
//
// One launch takes one inner step of the fourth-order Runge-Kutta scheme with all of its four stages: a block brings a
// tile and a border of four cells to shared memory, and each stage is right one cell less far into the border.

#define TILE 32
#define BORDER 4
#define SIDE (TILE + 2 * BORDER)
#define OWN 5                        // cells of a thread, one above the other
#define TILE_THREADS (SIDE * SIDE / OWN)

enum Dmi { NO_DMI, BULK, INTERFACIAL };

// The outer step that a slot is at, as Steps.at in llg.py.
__device__ __forceinline__ int parts_of(const Film& film, int step) {
    return step >= film.ramp + film.single ? film.parts : 1;
}
__device__ __forceinline__ float share_of(const Film& film, int step) { return fminf(1.0f, (step + 1.0f) / film.ramp); }
__device__ __forceinline__ float length_of(const Film& film, int step) {
    return parts_of(film, step) * share_of(film, step);
}

// Three standard normal numbers, as in philox.py.
__device__ __forceinline__ void normals(unsigned int cell, unsigned int stream, unsigned int number, const Film& film,
                                        float out[3]) {
    unsigned int w[4];
    philox(cell, stream, number, film.stage, film.seed_low, film.seed_high, w);
    float s, c, r = sqrtf(-2.0f * logf((float)uniform(w[0])));
    sincospif(2.0f * (float)uniform(w[1]), &s, &c);
    out[0] = r * c;
    out[1] = r * s;
    out[2] = sqrtf(-2.0f * logf((float)uniform(w[2]))) * cospif(2.0f * (float)uniform(w[3]));
}

// What a thread keeps of one of its cells.
struct Cell {
    float start[3], outer[3], total[3], anisotropy;
    Edges edges;
};

// i around a circle of n. A tile reaches beyond a film of many cells once at most.
__device__ __forceinline__ int around(int i, int n) {
    while (i < 0) i += n;
    while (i >= n) i -= n;
    return i;
}

__device__ __forceinline__ void load_cell(Cell& cell, int x, int y, const Film& film, const float* m, const float* now,
                                          const float* before, const float* ku1, float ahead,
                                          float thermal_std, unsigned int number, int ny, int nx) {
    size_t cells = (size_t)ny * nx, at = (size_t)around(y, ny) * nx + around(x, nx);
    const float applied[3] = {film.field_x, film.field_y, film.field_z};
    float thermal[3] = {};
    if (thermal_std != 0) normals((unsigned int)at, STREAM_THERMAL, number, film, thermal);
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        float h = now[c * cells + at];
        cell.start[c] = m[c * cells + at];
        cell.outer[c] = h + ahead * (h - before[c * cells + at]) + applied[c] + thermal_std * thermal[c];
        cell.total[c] = 0;
    }
    cell.anisotropy = film.anisotropy * ku1[at];
    cell.edges = edges_at(x, y, nx, ny);
}

// One stage of four on a thread's cells: k = −m × h − α m × (m × h); total += weight k; next = start + ahead k.
template <int DMI>
__device__ __forceinline__ void stage(Cell* own, const Film& film, const float (*m)[(SIDE + 2) * SIDE],
                                      float (*next)[(SIDE + 2) * SIDE], int first, float ahead, float weight) {
    float below[3], here[3], above[3], left[3], right[3];
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        below[c] = m[c][first - SIDE];
        here[c] = m[c][first];
    }
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
        int at = first + i * SIDE;
        float h[3];
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            above[c] = m[c][at + SIDE];
            left[c] = m[c][at - 1];
            right[c] = m[c][at + 1];
            h[c] = own[i].outer[c];
        }
        const Edges& has = own[i].edges;
        float here_too = film.exchange_x * (has.left + has.right) + film.exchange_y * (has.below + has.above);
#pragma unroll
        for (int c = 0; c < 3; ++c)
            h[c] += film.exchange_x * (has.left * left[c] + has.right * right[c]) +
                    film.exchange_y * (has.below * below[c] + has.above * above[c]) - here_too * here[c];
        if (DMI == BULK) add_bulk_dmi(film, left, right, below, above, has, h);
        if (DMI == INTERFACIAL) add_interfacial_dmi(film, left, right, below, above, has, h);
        h[2] += own[i].anisotropy * here[2];
        float t[3] = {here[1] * h[2] - here[2] * h[1], here[2] * h[0] - here[0] * h[2], here[0] * h[1] - here[1] * h[0]};
        float k[3] = {-t[0] - film.alpha * (here[1] * t[2] - here[2] * t[1]),
                      -t[1] - film.alpha * (here[2] * t[0] - here[0] * t[2]),
                      -t[2] - film.alpha * (here[0] * t[1] - here[1] * t[0])};
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            own[i].total[c] += weight * k[c];
            if (next) next[c][at] = own[i].start[c] + ahead * k[c];
            below[c] = here[c];
            here[c] = above[c];
        }
    }
}

template <int DMI>
__device__ __forceinline__ void runge_kutta(Cell* own, const Film& film, float (*m)[3][(SIDE + 2) * SIDE], int first,
                                            float turn) {
    stage<DMI>(own, film, m[0], m[1], first, 0.5f * turn, turn / 6);
    __syncthreads();
    stage<DMI>(own, film, m[1], m[0], first, 0.5f * turn, turn / 3);
    __syncthreads();
    stage<DMI>(own, film, m[0], m[1], first, turn, turn / 3);
    __syncthreads();
    stage<DMI>(own, film, m[1], nullptr, first, 0, turn / 6);
}

// Inner step `part` of the outer step that each quenching slot is at. now, before: demag at the outer step's beginning and
// one outer step earlier. Grid: (tiles along x, along y, slots), TILE_THREADS threads.
extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2)
advance(const float* __restrict__ m_all, float* m_next_all, const float* __restrict__ now_all,
        const float* __restrict__ before_all, const float* __restrict__ ku1_all, const Film* films, const Slot* slots,
        const Report* reports, int part, int ny, int nx) {
    // a row of anything below and above the tile: what is read there never reaches the cells that count
    __shared__ float m[2][3][(SIDE + 2) * SIDE];
    int slot = blockIdx.z, number = slots[slot].step;
    if (reports[slot].mode != QUENCHING) return;
    const Film& film = films[slot];
    int parts = parts_of(film, number);
    if (part >= parts) return;
    size_t cells = (size_t)ny * nx, base = (size_t)slot * 3 * cells;
    float share = share_of(film, number);
    float growth = number ? length_of(film, number) / length_of(film, number - 1) : 0.0f;
    float ahead = growth * (part + 0.5f) / parts, thermal_std = film.thermal_std * rsqrtf(share);
    int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE * OWN, first = (y + 1) * SIDE + x;
    int film_x = blockIdx.x * TILE + x - BORDER, film_y = blockIdx.y * TILE + y - BORDER;
    Cell own[OWN];
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
        load_cell(own[i], film_x, film_y + i, film, m_all + base, now_all + base, before_all + base,
                  ku1_all + (size_t)slot * cells, ahead, thermal_std, (unsigned int)(number * MAX_INNER_STEPS + part),
                  ny, nx);
#pragma unroll
        for (int c = 0; c < 3; ++c) m[0][c][first + i * SIDE] = own[i].start[c];
    }
    __syncthreads();
    float turn = film.rotation * share;
    if (film.bulk_x != 0) runge_kutta<BULK>(own, film, m, first, turn);
    else if (film.interfacial_x != 0) runge_kutta<INTERFACIAL>(own, film, m, first, turn);
    else runge_kutta<NO_DMI>(own, film, m, first, turn);
    if (x < BORDER || x >= SIDE - BORDER || film_x >= nx) return;
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
        if (y + i < BORDER || y + i >= SIDE - BORDER || film_y + i >= ny) continue;
        float v[3] = {own[i].start[0] + own[i].total[0], own[i].start[1] + own[i].total[1],
                      own[i].start[2] + own[i].total[2]};
        float scale = inside(film_x, film_y + i, nx, ny) ? 1.0f / sqrtf(dot3(v, v)) : 0.0f;
#pragma unroll
        for (int c = 0; c < 3; ++c) m_next_all[base + c * cells + (size_t)(film_y + i) * nx + film_x] = scale * v[c];
    }
}

// Ends a outer step of every quenching slot. buffer: which m it led to. One thread a slot.
extern "C" __global__ void end_outer_step(const Film* films, Slot* slots, Report* reports, int nslots, int buffer) {
    int slot = blockIdx.x * blockDim.x + threadIdx.x;
    if (slot >= nslots || reports[slot].mode != QUENCHING) return;
    reports[slot].buffer = buffer;
    reports[slot].evaluations = ++slots[slot].step;
    if (slots[slot].step == films[slot].outer_steps) reports[slot].mode = QUENCHED;
}
