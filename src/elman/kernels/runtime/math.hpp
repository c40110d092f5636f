// The part of every kernel that does not depend on the cell. The printed head of a kernel defines F, the type of the
// computation (float, double); S, the type of what is stored (F, or bfloat16 as uint16_t); STATES, GATES and COLUMNS and
// their sizes; OUTPUT_SIZE; READS_INPUT, whether a step reads x itself; and FACTORS, the products of the weights'
// gradients: the stored value `left` (-1: x) of a size, transposed, times `length` columns from `first`. The printed
// forward_step and backward_step follow.

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <type_traits>
#include <vector>
#include <sched.h>

// declared, not included: the headers of ATen take half a minute to compile
namespace c10 { struct BFloat16; }
namespace at { namespace native { namespace cpublas {
void brgemm(int64_t M, int64_t N, int64_t K, int64_t ld_a, int64_t ld_b, int64_t ld_c, bool add,
            const float* A, const float* B, float* C, bool is_vnni);
void brgemm(int64_t M, int64_t N, int64_t K, int64_t ld_a, int64_t ld_b, int64_t ld_c, bool add,
            const c10::BFloat16* A, const c10::BFloat16* B, float* C, bool is_vnni);
void brgemm_release(bool is_vnni);
}}}

// torch's own threads: its OpenMP library is called as compiled code would call it, so that every compiler can be used
extern "C" void GOMP_parallel(void (*work)(void*), void* data, unsigned threads, unsigned flags);
extern "C" int omp_get_thread_num();
extern "C" int omp_get_num_threads();

namespace {

inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

// ---- mathematics, without branches, so that the compiler vectorizes it; NaN and infinity propagate as in torch

inline float bits(int32_t i) { float f; std::memcpy(&f, &i, 4); return f; }
inline int32_t bits(float f) { int32_t i; std::memcpy(&i, &f, 4); return i; }

// exp(x) - 1 = 2^k e + (2^k - 1), for x in [-87, 88]; e = exp(r) - 1, |r| <= ln(2) / 2; half is 2^(k - 1)
struct Power { float e, two_k, half; };
inline Power power(float x) {
  const float shifted = x * 1.44269504088896f + 12582912.0f;  // 1.5 * 2^23: the sum's low bits are the nearest integer
  const float k = shifted - 12582912.0f;
  const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const int32_t exponent = bits(shifted) << 23;
  return {p * r * r + r, bits(exponent + 0x3f800000), bits(exponent + 0x3f000000)};
}
inline float clamp(float x, float low, float high) { x = x < low ? low : x; return x > high ? high : x; }  // keeps NaN
inline float exponential(float x) {  // scaled in two steps: exp(88.5) is a float, 2^128 is not
  const Power p = power(clamp(x, -86.6f, 89.0f));
  return x < -86.6f ? 0.0f : 2.0f * (p.half * p.e + p.half);
}
inline float sigmoid(float x) {
  const Power p = power(clamp(-x, -87.0f, 87.0f));
  return x < -87.0f ? 0.0f : 1.0f / (1.0f + (p.two_k * p.e + p.two_k));
}
inline float tangent(float x) {  // tanh(x) = m / (m + 2), m = exp(2 x) - 1
  const Power p = power(clamp(x + x, -20.0f, 20.0f));
  const float m = p.two_k * p.e + (p.two_k - 1.0f);
  return m / (m + 2.0f);
}
inline float log1p_small(float e) {  // log(1 + e) for e in [0, 1]: 2 atanh(s), s = e / (2 + e)
  const float s = e / (2.0f + e), q = s * s;
  float p = 1.0f / 15.0f;
  p = p * q + 1.0f / 13.0f;
  p = p * q + 1.0f / 11.0f;
  p = p * q + 1.0f / 9.0f;
  p = p * q + 1.0f / 7.0f;
  p = p * q + 1.0f / 5.0f;
  p = p * q + 1.0f / 3.0f;
  return 2.0f * (s + s * q * p);
}
inline float log_sigmoid(float x) {
  const float e = exponential(x < 0.0f ? x : -x);
  return (x > 0.0f ? 0.0f : x) - log1p_small(e);
}
inline double exponential(double x) { return std::exp(x); }
inline double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
inline double tangent(double x) { return std::tanh(x); }
inline double log_sigmoid(double x) { return (x > 0.0 ? 0.0 : x) - std::log1p(std::exp(-std::fabs(x))); }

