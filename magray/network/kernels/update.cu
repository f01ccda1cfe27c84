// AdamW on all parameters of a network, one behind the other; see optimizer.py, whose `adamw` this is.

// numbers: the share of the values that stays, the new gradient's share in the mean, the size that the squares have
// reached, the length of the step.
extern "C" __global__ void __launch_bounds__(THREADS)
adamw(float* __restrict__ values, const float* __restrict__ gradient, float* __restrict__ mean,
      float* __restrict__ square, const float* __restrict__ numbers, float square_memory, float least, int count) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) return;
    float g = gradient[i], keep = numbers[0], news = numbers[1], size = numbers[2], step = numbers[3];
    float m = mean[i] + news * (g - mean[i]), s = square_memory * square[i] + (1 - square_memory) * g * g;
    mean[i] = m;
    square[i] = s;
    values[i] = keep * values[i] + m * step / (sqrtf(s) / size + least);
}
