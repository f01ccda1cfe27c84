// The minimiser's passes over a batch: the force at a point, the step to the next, the decision between them; compiled
// after film.cu. The scheme is that of minimizer.py.

#define FORCE_SUMS (3 + 2 * HISTORY)  // energy, f·s of the latest step, f·w before; f·s_i, f·P y_i

// The force h − (m·h) m of a block's rows into h, with the sums that the minimiser needs of it. The demagnetising field
// of a cell is at demag + component · demag_plane + y · demag_row + x.
__device__ __forceinline__ void project_rows(const float* demag, size_t demag_plane, size_t demag_row,
                                             const float* m_all, float* h_all, const float* ku1_all,
                                             const float* w_before_all, const unsigned int* steps,
                                             const unsigned int* changes, const Film* films, const Slot* slots,
                                             double* partial, float* partial_torque, int nslots, int ny, int nx,
                                             int rows) {
    int slot = blockIdx.y;
    const Slot& state = slots[slot];
    Film film = films[slot];
    size_t cells = (size_t)ny * nx, base = (size_t)slot * 3 * cells, half = base / 2;
    size_t ring = (size_t)nslots * 3 * cells / 2;
    const float *m = m_all + base, *ku1 = ku1_all + (size_t)slot * cells, *w = w_before_all + base;
    float* h = h_all + base;
    int count = state.count, fresh = state.fresh;
    const unsigned int* s_head = steps + state.head * ring + half;
    size_t live[HISTORY];
#pragma unroll
    for (int i = 0; i < HISTORY; ++i) live[i] = (i < count ? state.order[i] : 0) * ring + half;
    float sum[FORCE_SUMS] = {}, torque2 = 0;  // of 2 × rows cells at a time: single precision is enough
    int first = blockIdx.x * rows, last = min(first + rows, ny);
    for (int x = 2 * threadIdx.x; x < nx; x += 2 * blockDim.x) {
        int left = x == 0 ? nx - 1 : x - 1, right = x + 2 == nx ? 0 : x + 2;
        float2 below[3], here[3], above[3];
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            below[c] = load2(m + c * cells + (size_t)(first == 0 ? ny - 1 : first - 1) * nx + x);
            here[c] = load2(m + c * cells + (size_t)first * nx + x);
        }
        for (int y = first; y < last; ++y) {
            size_t row = (size_t)y * nx, at = row + x, up = (size_t)(y + 1 == ny ? 0 : y + 1) * nx + x;
            float l[3], r[3], a[2][3], ml[3], mr[3], bl[3], br[3], al[3], ar[3];
#pragma unroll
            for (int c = 0; c < 3; ++c) {
                above[c] = load2(m + c * cells + up);
                float2 demag_field = load2(demag + c * demag_plane + y * demag_row + x);
                l[c] = m[c * cells + row + left];
                r[c] = m[c * cells + row + right];
                ml[c] = here[c].x; mr[c] = here[c].y;
                bl[c] = below[c].x; br[c] = below[c].y;
                al[c] = above[c].x; ar[c] = above[c].y;
                a[0][c] = demag_field.x; a[1][c] = demag_field.y;
            }
            float2 k = load2(ku1 + at);
            add_local_terms(film, k.x, ml, l, mr, bl, al, edges_at(x, y, nx, ny), a[0]);
            add_local_terms(film, k.y, mr, ml, r, br, ar, edges_at(x + 1, y, nx, ny), a[1]);
            float energy = 0;
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const float* mi = i ? mr : ml;
                float quadratic = dot3(mi, a[i]);
                float applied = mi[0] * film.field_x + mi[1] * film.field_y + mi[2] * film.field_z;
                float along = quadratic + applied;
                energy -= 0.5f * quadratic + applied;
                a[i][0] += film.field_x - along * mi[0];
                a[i][1] += film.field_y - along * mi[1];
                a[i][2] += film.field_z - along * mi[2];
                if (!inside(x + i, y, nx, ny)) a[i][0] = a[i][1] = a[i][2] = 0;
                torque2 = fmaxf(torque2, dot3(a[i], a[i]));
            }
            sum[0] += energy;
            float head = 0, before = 0, live_s[HISTORY] = {}, live_z[HISTORY] = {};
#pragma unroll
            for (int c = 0; c < 3; ++c) {
                size_t p = c * cells + at;
                float2 f = make_float2(a[0][c], a[1][c]);
                store2(h + p, f);
                if (!fresh) {
                    float2 v = unpack(s_head[p / 2]);
                    head += v.x * f.x + v.y * f.y;
                    v = load2(w + p);
                    before += v.x * f.x + v.y * f.y;
#pragma unroll
                    for (int i = 0; i < HISTORY; ++i)
                        if (i < count) {
                            v = unpack(steps[live[i] + p / 2]);
                            live_s[i] += v.x * f.x + v.y * f.y;
                            v = unpack(changes[live[i] + p / 2]);
                            live_z[i] += v.x * f.x + v.y * f.y;
                        }
                }
                below[c] = here[c];
                here[c] = above[c];
            }
            sum[1] += head;
            sum[2] += before;
#pragma unroll
            for (int i = 0; i < HISTORY; ++i) {
                sum[3 + i] += live_s[i];
                sum[3 + HISTORY + i] += live_z[i];
            }
        }
    }
    size_t block = (size_t)slot * gridDim.x + blockIdx.x;
    // a sum that is not a number says so through the energy; fmaxf alone would lose it
    float top = block_max(torque2);
    if (threadIdx.x == 0) partial_torque[block] = top;
    double sums[FORCE_SUMS];
#pragma unroll
    for (int q = 0; q < FORCE_SUMS; ++q) sums[q] = sum[q];
    block_sum(sums, partial + block * FORCE_SUMS);
}

// h holds the demagnetising field and becomes the force. w_before: P times the force of the point before.
// Grid: (groups of `rows` rows, slots); a thread has two cells of a row.
extern "C" __global__ void __launch_bounds__(256, 4)
force(const float* __restrict__ m, float* h, const float* __restrict__ ku1, const float* __restrict__ w_before,
      const unsigned int* __restrict__ steps, const unsigned int* __restrict__ changes, const Film* films,
      const Slot* slots, const Report* reports, double* partial, float* partial_torque, int nslots, int ny, int nx,
      int rows) {
    if (reports[blockIdx.y].mode != RUNNING) return;
    const float* demag = h + (size_t)blockIdx.y * 3 * ny * nx;
    project_rows(demag, ny * nx, nx, m, h, ku1, w_before, steps, changes, films, slots, partial, partial_torque, nslots,
                 ny, nx, rows);
}

#define STEP_SUMS 1  // f·s of the step

// Takes the step that `decide` weighed: from m (the latest point) to m_next, and keeps it in the ring, with the change
// P y = w_before − w of the pair before it. Grid: (blocks over pairs of cells, slots).
extern "C" __global__ void step(const float* __restrict__ m_all, float* m_next_all, const float* __restrict__ f_all,
                                const float* __restrict__ w_all, const float* __restrict__ w_before_all,
                                unsigned int* steps, unsigned int* changes, const Slot* slots, const Report* reports,
                                double* partial, float* partial_turn, int nslots, int cells, int nx) {
    int slot = blockIdx.y;
    const Slot& state = slots[slot];
    if (reports[slot].mode != RUNNING || state.skip) return;
    size_t base = (size_t)slot * 3 * cells, half = base / 2, ring = (size_t)nslots * 3 * cells / 2;
    int count = state.count, newest = state.newest;
    const unsigned int *s_live[HISTORY], *z_live[HISTORY];
    float s_weight[HISTORY], z_weight[HISTORY];
#pragma unroll
    for (int i = 0; i < HISTORY; ++i) {
        s_live[i] = steps + (i < count ? state.order[i] : 0) * ring + half;
        z_live[i] = changes + (i < count ? state.order[i] : 0) * ring + half;
        s_weight[i] = i < count ? state.step_weight[i] : 0.0f;
        z_weight[i] = i < count ? state.change_weight[i] : 0.0f;
    }
    unsigned int *s_head = steps + state.head * ring + half;
    unsigned int *z_newest = changes + (newest < 0 ? 0 : newest) * ring + half;
    float limit = state.limit, scale = state.scale, turn2 = 0;
    double sum[STEP_SUMS] = {0};
    for (int x = 2 * (blockIdx.x * blockDim.x + threadIdx.x); x < cells; x += 2 * gridDim.x * blockDim.x) {
        float2 m[3], d[3];
        float2 along = make_float2(0, 0);
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            size_t p = (size_t)c * cells + x;
            m[c] = load2(m_all + base + p);
            d[c] = load2(w_all + base + p);
            if (newest >= 0) {
                float2 before = load2(w_before_all + base + p);
                z_newest[p / 2] = pack(make_float2(before.x - d[c].x, before.y - d[c].y));
            }
            d[c].x *= scale;
            d[c].y *= scale;
#pragma unroll
            for (int i = 0; i < HISTORY; ++i)
                if (i < count) {
                    float2 s = unpack(s_live[i][p / 2]), z = unpack(z_live[i][p / 2]);
                    d[c].x += s_weight[i] * s.x - z_weight[i] * z.x;
                    d[c].y += s_weight[i] * s.y - z_weight[i] * z.y;
                }
            along.x += m[c].x * d[c].x;
            along.y += m[c].y * d[c].y;
        }
        float2 length2 = make_float2(0, 0);
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            d[c].x -= along.x * m[c].x;
            d[c].y -= along.y * m[c].y;
            length2.x += d[c].x * d[c].x;
            length2.y += d[c].y * d[c].y;
        }
        float2 cut = make_float2(length2.x > limit * limit ? limit * rsqrtf(length2.x) : 1.0f,
                                 length2.y > limit * limit ? limit * rsqrtf(length2.y) : 1.0f);
        turn2 = fmaxf(turn2, fmaxf(fminf(length2.x, limit * limit), fminf(length2.y, limit * limit)));
        float2 norm2 = make_float2(0, 0);
        float slope = 0;
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            size_t p = (size_t)c * cells + x;
            d[c].x *= cut.x;
            d[c].y *= cut.y;
            unsigned int kept = pack(d[c]);
            s_head[p / 2] = kept;
            float2 s = unpack(kept), f = load2(f_all + base + p);
            slope += s.x * f.x + s.y * f.y;
            m[c].x += d[c].x;
            m[c].y += d[c].y;
            norm2.x += m[c].x * m[c].x;
            norm2.y += m[c].y * m[c].y;
        }
        sum[0] += slope;
        float2 norm = make_float2(1.0f / sqrtf(norm2.x), 1.0f / sqrtf(norm2.y));
        if (!inside(x % nx, x / nx, nx, cells / nx)) norm.x = 0;
        if (!inside(x % nx + 1, x / nx, nx, cells / nx)) norm.y = 0;
#pragma unroll
        for (int c = 0; c < 3; ++c)
            store2(m_next_all + base + (size_t)c * cells + x, make_float2(m[c].x * norm.x, m[c].y * norm.y));
    }
    size_t block = (size_t)slot * gridDim.x + blockIdx.x;
    float top = block_max(turn2);
    if (threadIdx.x == 0) partial_turn[block] = top;
    block_sum(sum, partial + block * STEP_SUMS);
}

// The scalars of Nocedal's two loops, in terms of the products of forces, steps s and preconditioned changes z = P y:
// the direction is scale w + Σ step_weight s − Σ change_weight z. Without line search every quantity is already at hand.
__device__ void weigh_pairs(Slot& s) {
    double alpha[HISTORY], gamma[HISTORY];
    for (int i = s.count - 1; i >= 0; --i) {
        double q = s.force_step[i];
        for (int j = i + 1; j < s.count; ++j) q -= alpha[j] * s.step_change[i][j];
        alpha[i] = q / s.step_change[i][i];
    }
    double slope = s.scale * s.force_force;
    for (int i = 0; i < s.count; ++i) {
        double r = s.force_change[i];
        for (int j = 0; j < s.count; ++j) r -= alpha[j] * s.change_change[i][j];
        r *= s.scale;
        for (int j = 0; j < i; ++j) r += gamma[j] * s.step_change[j][i];
        gamma[i] = alpha[i] - r / s.step_change[i][i];
    }
    for (int i = 0; i < s.count; ++i) {
        slope += gamma[i] * s.force_step[i] - s.scale * alpha[i] * s.force_change[i];
        s.step_weight[i] = (float)gamma[i];
        s.change_weight[i] = (float)(s.scale * alpha[i]);
    }
    if (!(slope > 0)) s.count = 0;  // uphill: the preconditioned force instead
}

__device__ void drop_oldest_pair(Slot& s) {
    for (int i = 0; i + 1 < s.count; ++i) {
        s.order[i] = s.order[i + 1];
        s.force_step[i] = s.force_step[i + 1];
        s.force_change[i] = s.force_change[i + 1];
        for (int j = 0; j + 1 < s.count; ++j) {
            s.step_change[i][j] = s.step_change[i + 1][j + 1];
            s.change_change[i][j] = s.change_change[i + 1][j + 1];
        }
    }
    --s.count;
}

__device__ int free_place(const Slot& s) {
    for (int place = 0; place < RING; ++place) {
        bool used = false;
        for (int i = 0; i < s.count; ++i) used |= s.order[i] == place;
        if (!used) return place;
    }
    return 0;
}

// After an evaluation: is the point accepted, is the film done, which step comes next? One block of a warp a slot.
// buffer: which m the evaluation was of.
extern "C" __global__ void decide(const Film* films, Slot* slots, Report* reports, const double* force_partial,
                                  const float* torque_partial, int force_blocks, const double* step_partial,
                                  const float* turn_partial, int step_blocks, const double* power_partial,
                                  int power_blocks, int cells, int buffer) {
    int slot = blockIdx.x;
    Slot& s = slots[slot];
    Report& report = reports[slot];
    if (report.mode != RUNNING) return;
    double sums[FORCE_SUMS];
#pragma unroll
    for (int q = 0; q < FORCE_SUMS; ++q)
        sums[q] = warp_sum(force_partial + (size_t)slot * force_blocks * FORCE_SUMS + q, force_blocks, FORCE_SUMS);
    double head_force_before = warp_sum(step_partial + (size_t)slot * step_blocks, step_blocks, 1);
    double force_force = warp_sum(power_partial + (size_t)slot * power_blocks, power_blocks, 1);
    float torque2 = warp_max(torque_partial + (size_t)slot * force_blocks, force_blocks);
    float turn2 = warp_max(turn_partial + (size_t)slot * step_blocks, step_blocks);
    if (threadIdx.x != 0) return;

    double energy = sums[0] / cells, torque = sqrt((double)torque2);
    double head_force = sums[1], before_force = sums[2];
    ++report.evaluations;
    bool finite = isfinite(energy) && isfinite(force_force);
    if (s.fresh && !finite) { report.mode = FAILED; return; }
    if (!s.fresh) {
        double ceiling = s.energies[0];
        for (int i = 1; i < min(s.accepted, NONMONOTONE_WINDOW); ++i) ceiling = fmax(ceiling, s.energies[i]);
        if (!finite || !(energy <= ceiling + ENERGY_NOISE * fabs(report.energy))) {
            // the point before is still in the other m, where the next evaluation looks: start afresh from it
            s.fresh = s.skip = 1;
            s.count = 0;
            s.newest = -1;
            s.limit = fminf(s.limit, sqrtf(turn2)) / 2;
            ++s.taken_back;
            if (report.evaluations >= films[slot].max_evaluations) report.mode = NOT_CONVERGED;
            return;
        }
        s.limit = fminf(MAX_ROTATION, 2 * s.limit);
        for (int i = 0; i < s.count; ++i) {  // y = f before − f now
            double new_step = sums[3 + i], new_change = sums[3 + HISTORY + i];
            sums[3 + i] = s.force_step[i] - new_step;
            sums[3 + HISTORY + i] = s.force_change[i] - new_change;
            s.force_step[i] = new_step;
            s.force_change[i] = new_change;
        }
        double curvature = head_force_before - head_force;
        double change_change = s.force_force - 2 * before_force + force_force;
        s.newest = -1;
        if (curvature > MIN_CURVATURE * change_change && curvature > 0) {
            if (s.taken_back >= OVERSTEPS) s.scale = (float)fmin(1.0, curvature / change_change);
            int shift = s.count == HISTORY;
            if (shift) drop_oldest_pair(s);
            int n = s.count++;
            s.order[n] = s.newest = s.head;
            for (int i = 0; i < n; ++i) {
                s.step_change[i][n] = sums[3 + i + shift];
                s.change_change[i][n] = s.change_change[n][i] = sums[3 + HISTORY + i + shift];
            }
            s.step_change[n][n] = curvature;
            s.change_change[n][n] = change_change;
            s.force_step[n] = head_force;
            s.force_change[n] = before_force - force_force;
        }
    }
    s.fresh = s.skip = 0;
    report.buffer = buffer;
    report.energy = energy;
    report.torque = torque;
    s.force_force = force_force;
    s.energies[s.accepted++ % NONMONOTONE_WINDOW] = energy;
    if (torque <= films[slot].torque) { report.mode = CONVERGED; return; }
    if (report.evaluations >= films[slot].max_evaluations) { report.mode = NOT_CONVERGED; return; }
    weigh_pairs(s);
    if (s.count == 0) s.newest = -1;
    s.head = free_place(s);
}
