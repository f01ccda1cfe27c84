// As much of CUDA as the kernels use, for g++: each thread of a block is a fiber, and the blocks run one after another.
//
// A fiber runs until it waits at a barrier, and then the next one runs. So a barrier that a kernel lacks is seen in its
// results, the same in every run: what a fiber reads before a barrier is what the fibers before it wrote, and no more.
#pragma once

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __shared__ static
#define __restrict__

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned int x, y; };
struct alignas(16) uint4 { unsigned int x, y, z, w; };
struct dim3 { unsigned int x = 1, y = 1, z = 1; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned int x, unsigned int y) { return {x, y}; }

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

using std::isfinite;
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float cospif(float x) { return (float)cos(M_PI * x); }
inline void sincospif(float x, float* s, float* c) {
    *s = (float)sin(M_PI * x);
    *c = (float)cos(M_PI * x);
}
inline float __fdividef(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline unsigned int __umulhi(unsigned int a, unsigned int b) { return (uint64_t)a * b >> 32; }
template <class To, class From> To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof(to));
    return to;
}
inline unsigned int __float_as_uint(float v) { return same_bits<unsigned int>(v); }
inline float __uint_as_float(unsigned int v) { return same_bits<float>(v); }
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> T __ldcg(const T* p) { return *p; }
template <class T> void __stcs(T* p, T v) { *p = v; }
template <class T> void __stcg(T* p, T v) { *p = v; }

namespace emulation {

constexpr unsigned int WARP_LANES = 32;
constexpr size_t STACK = 1 << 17, DYNAMIC_SHARED = 1 << 18;  // bytes

// Threads that wait for one another.
struct Group {
    int alive = 0, arrived = 0, passed = 0;
    void open_if_complete() {
        if (arrived < alive) return;
        arrived = 0;
        ++passed;
    }
};

struct Fiber {
    ucontext_t start;
    jmp_buf place;
    bool started = false;
    std::vector<char> stack = std::vector<char>(STACK);
    Group* waits_for = nullptr;
    int passed = 0;
    bool done = false;
    int shuffles = 0;
};

struct Warp : Group {
    char exchanged[2][WARP_LANES][16];  // in turn, so that a shuffle needs one barrier
};

inline std::vector<Fiber> fibers;
inline std::vector<Warp> warps;
inline Group block;
inline jmp_buf scheduler;
inline void (*body)();  // the kernel with its arguments

inline Fiber& current() { return fibers[threadIdx.x]; }
inline Warp& current_warp() { return warps[threadIdx.x / WARP_LANES]; }

inline void wait(Group& group) {
    Fiber& fiber = current();
    fiber.waits_for = &group;
    fiber.passed = group.passed;
    ++group.arrived;
    group.open_if_complete();
    if (group.passed == fiber.passed && !_setjmp(fiber.place)) _longjmp(scheduler, 1);
}

// Until the fiber waits or ends. Jumps are ten times as fast as swapcontext, which asks the system each time.
__attribute__((noinline)) inline void resume(Fiber& fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    setcontext(&fiber.start);
}

inline void thread_main() {
    body();
    current().done = true;
    for (Group* group : {(Group*)&current_warp(), &block}) {
        --group->alive;
        if (group->alive) group->open_if_complete();
    }
    _longjmp(scheduler, 1);
}

inline bool can_run(const Fiber& fiber) {
    return !fiber.done && (!fiber.waits_for || fiber.waits_for->passed != fiber.passed);
}

// False when the threads wait for one another for ever.
inline bool run_block() {
    unsigned int threads = blockDim.x, running = threads;
    block = Group{(int)threads};
    warps.assign((threads + WARP_LANES - 1) / WARP_LANES, Warp());
    if (fibers.size() < threads) fibers.resize(threads);
    for (unsigned int t = 0; t < threads; ++t) {
        Fiber& fiber = fibers[t];
        fiber.waits_for = nullptr;
        fiber.started = fiber.done = false;
        fiber.shuffles = 0;
        ++warps[t / WARP_LANES].alive;
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.data();
        fiber.start.uc_stack.ss_size = STACK;
        makecontext(&fiber.start, thread_main, 0);
    }
    for (bool progress = true; running && progress;) {
        progress = false;
        for (unsigned int t = 0; t < threads; ++t) {
            if (!can_run(fibers[t])) continue;
            progress = true;
            threadIdx.x = t;
            resume(fibers[t]);
            running -= fibers[t].done;
        }
    }
    return running == 0;
}

template <class... Parameters, size_t... I>
bool launch(void (*kernel)(Parameters...), void** arguments, std::index_sequence<I...>) {
    static std::tuple<Parameters...>* bound;
    static void (*bound_kernel)(Parameters...);
    std::tuple<Parameters...> values{*static_cast<std::remove_reference_t<Parameters>*>(arguments[I])...};
    bound = &values;
    bound_kernel = kernel;
    body = [] { std::apply(bound_kernel, *bound); };
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
                if (!run_block()) return false;
    return true;
}

template <class... Parameters> bool launch(void (*kernel)(Parameters...), void** arguments) {
    return launch(kernel, arguments, std::index_sequence_for<Parameters...>());
}

template <class T> T exchanged(T value, unsigned int from) {
    static_assert(sizeof(T) <= 16);
    Warp& warp = current_warp();
    auto& values = warp.exchanged[current().shuffles++ % 2];
    memcpy(values[threadIdx.x % WARP_LANES], &value, sizeof(T));
    wait(warp);
    memcpy(&value, values[from % WARP_LANES], sizeof(T));
    return value;
}

// Dynamic shared memory holds nothing that means anything at a launch's start, and ends where the launch said.
struct Guard {
    unsigned char *end, *last;
    Guard(void* memory, size_t bytes) {
        end = (unsigned char*)memory + bytes;
        last = (unsigned char*)memory + DYNAMIC_SHARED;
        memset(memory, NOTHING, DYNAMIC_SHARED);
    }
    int result(bool ended) const {
        if (!ended) return 0;
        for (const unsigned char* p = end; p < last; ++p)
            if (*p != NOTHING) return 1;
        return 2;
    }
    static constexpr unsigned char NOTHING = 0xff;  // as floats: not numbers
};

}  // namespace emulation

inline void __syncthreads() { emulation::wait(emulation::block); }
inline void __syncwarp(unsigned int = 0xffffffffu) { emulation::wait(emulation::current_warp()); }

// All lanes of a warp take part.
template <class T> T __shfl_sync(unsigned int, T value, int from, int width = 32) {
    unsigned int lane = threadIdx.x % 32;
    return emulation::exchanged(value, lane / width * width + from % width);
}
template <class T> T __shfl_xor_sync(unsigned int, T value, int mask) {
    return emulation::exchanged(value, threadIdx.x % 32 ^ mask);
}
template <class T> T __shfl_down_sync(unsigned int, T value, unsigned int by) {
    unsigned int lane = threadIdx.x % 32;
    return emulation::exchanged(value, lane + by < 32 ? lane + by : lane);
}
