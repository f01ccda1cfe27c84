// AdamW on the flat vector of all parameters, as `adamw` in optimizer.py.
//
// hyperparameters: a row of optimizer.hyperparameter_table: 1 − lr · weight decay, 1 − β1, √(1 − β2ⁿ), −lr / (1 − β1ⁿ).
extern "C" __global__ void __launch_bounds__(THREADS)
adamw(float* __restrict__ values, const float* __restrict__ gradient, float* __restrict__ exp_avg,
      float* __restrict__ exp_avg_sq, const float* __restrict__ hyperparameters, float beta2, float eps, int count) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) return;
    float g = gradient[i], decay = hyperparameters[0], one_minus_beta1 = hyperparameters[1];
    float root_correction2 = hyperparameters[2], step_size = hyperparameters[3];
    float m = exp_avg[i] + one_minus_beta1 * (g - exp_avg[i]), s = beta2 * exp_avg_sq[i] + (1 - beta2) * g * g;
    exp_avg[i] = m;
    exp_avg_sq[i] = s;
    values[i] = decay * values[i] + m * step_size / (sqrtf(s) / root_correction2 + eps);
}
