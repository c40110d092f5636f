// The part of every kernel that does not depend on the cell: mathematics, products, threads, the loop over time.
// What is printed from the equation comes after it: forward_step and backward_step. Before it stand F, what is computed
// in (float, double); S, what is stored (F, or bfloat16 as uint16_t); STATES, GATES and COLUMNS, how many there are; and
// FACTORS, the products of the weights' gradients: `left`, what is stored at that number (-1: x), transposed, times
// `length` columns from `first`.

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

// torch's own threads: its OpenMP library is called as a compiler would, so that any compiler will do
extern "C" void GOMP_parallel(void (*work)(void*), void* data, unsigned threads, unsigned flags);
extern "C" int omp_get_thread_num();
extern "C" int omp_get_num_threads();

namespace {

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// ---- mathematics: without branches, so that the compiler computes many units at once; NaN and infinity as in torch

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
inline float clamp(float x, float low, float high) { x = x < low ? low : x; return x > high ? high : x; }  // NaN stays
inline float exponential(float x) {  // scaled in two steps: 2^128 is no float, but exp(88.5) is
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

// ---- what is stored: F as it is, or rounded to bfloat16

inline float load(uint16_t v) { return bits(int32_t(uint32_t(v) << 16)); }
inline float load(float v) { return v; }
inline double load(double v) { return v; }
inline void store(uint16_t& to, float v) {
  const uint32_t i = uint32_t(bits(v));
  to = uint16_t(v != v ? 0x7fc0 : (i + 0x7fff + ((i >> 16) & 1)) >> 16);
}
inline void store(float& to, float v) { to = v; }
inline void store(double& to, double v) { to = v; }

// A segment computes in rooms of CHUNK units, so that all its numbers are of one size: `open` brings what is read,
// `close` takes away what was written. What is F already stays where it is.
constexpr int64_t CHUNK = 128;
using Room = F[CHUNK];

inline const F* open(const F* from, Room&, int64_t) { return from; }
inline const float* open(const uint16_t* from, float (&room)[CHUNK], int64_t n) {
#pragma omp simd
  for (int64_t j = 0; j < n; j++) room[j] = load(from[j]);
  return room;
}
inline F* place(F* to, Room&) { return to; }
inline float* place(uint16_t*, float (&room)[CHUNK]) { return room; }
inline void close(F*, const Room&, int64_t) {}
inline void close(uint16_t* to, const float (&room)[CHUNK], int64_t n) {
  int64_t j = 0;
#ifdef __AVX512BF16__
  for (; j + 16 <= n; j += 16) {  // as an instruction: the header that names it takes a quarter of the compilation
    float __attribute__((vector_size(64))) given;
    uint16_t __attribute__((vector_size(32))) rounded;
    std::memcpy(&given, room + j, 64);
    asm("vcvtneps2bf16 %1, %0" : "=v"(rounded) : "v"(given));
    std::memcpy(to + j, &rounded, 32);
  }
#endif
#pragma omp simd
  for (int64_t i = j; i < n; i++) store(to[i], room[i]);
}

// ---- the call: the same fields as in kernel.py. (T, B, H) and the like: the last axis lies side by side

struct Call {
  int64_t T, B, H, I;
  int64_t row_parts, column_parts;  // who owns what: the rows in so many parts, the units of each in so many
  int64_t reverse;                  // from the last step to the first
  int64_t places;                   // in `stored`: one for each step, or two in turn where nothing need be kept
  int64_t y_step, y_row;            // from a step, and from a row, to the next in y
  const int64_t* lengths;           // (B,) or null
  const uint8_t* fresh;             // (T, B) or null: the row starts anew before the step
  const S* x;                       // (T, B, I)
  const S* W;                       // the input's matrix, packed
  const F* bias;                    // (GATES, H)
  F* inputs;                        // (steps at a time, B, GATES, H): W x
  F* input_gradient;                // (T, B, I) or null
  S* y;                             // the output; backward its gradient
  F* state;                         // (2, STATES, B, H): two places in turn; backward their gradient
  F* initial;                       // (STATES, B, H): where a row starts anew; backward its gradient
  S* stored;                        // (STORED, places, B, H)
  F* row_stored;                    // (ROW_STORED, places, B)
  F* kept;                          // (KEPT, B, H): from one segment of a step to a later one
  F* row_kept;                      // (ROW_KEPT, B)
  F* results;                       // (BLOCKS B H): of each product (B, its blocks, H)
  const S* const* matrices;         // the recurrent matrices, packed
  const F* vectors;                 // (VECTORS, H)
  S* columns;                       // (T, B, COLUMNS, H): gradients that the products after the loop need
  F* sums;                          // (row_parts, SUMS, H): gradients of bias and vectors
  F* taps;                          // (TAPS, T, B, H): recorded values; backward their gradients
  F* products;                      // (row_parts, of each of FACTORS (width of left, length H)) or null
  F* gradients;                     // of each of FACTORS (length H, width of left): their sum, turned
};

// Tokens written one after another by layers of this cell; the fields of decoder.py.
struct Text {
  int64_t steps, layers, tokens, residual, greedy;
  const F* lookup;         // (tokens, GATES, H): W x of each token, for the first layer
  const S* head;           // (H, tokens), packed
  const F* bias;           // (tokens,)
  F* logits;               // (B, tokens)
  const F* uniforms;       // (steps, B) in [0, 1)
  int64_t* drawn;          // (steps + 1, B): the first is given
  F temperature;
};

struct Barrier {
  std::atomic<int64_t> arrived{0}, round{0};
  std::atomic<bool> broken{false};
};

struct Worker {
  int64_t part, r0, r1, j0, j1;  // its rows and units
  int64_t i0, i1;                // its part of the input's gradient
  int64_t weight, all;           // column parts it stands for, of how many
  Barrier* barrier;
};

// the step; its place in `stored` and in `inputs`; which half of `state` is read
struct At { int64_t t, place, input, now; };

struct Broken : std::exception {};

// All workers of the same rows have come here before one goes on.
inline void wait(const Worker& w) {
  if (w.weight == w.all) return;
  Barrier& b = *w.barrier;
  const int64_t round = b.round.load();
  if (b.arrived.fetch_add(w.weight) + w.weight == w.all) {
    b.arrived.store(0);
    b.round.store(round + 1);
    return;
  }
  for (int64_t spins = 0; b.round.load(std::memory_order_acquire) == round; spins++) {
    if (b.broken.load(std::memory_order_relaxed)) throw Broken();
    if (spins > 1000) sched_yield();  // whoever is waited for may want this very core
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

// Calls work(thread, threads) in so many threads, or fewer.
template <class Work>
void parallel(int64_t threads, Work work) {
  GOMP_parallel([](void* data) { (*static_cast<Work*>(data))(omp_get_thread_num(), omp_get_num_threads()); }, &work,
                unsigned(threads), 0);
}

// ---- products: C = A B (+ C), rows of A and C ld apart
//
// The right factor B (K, N) is packed in panels of PANEL columns, the rows of a panel side by side, bfloat16 with each
// two rows interleaved: read in the order in which it lies, which is twice as fast as reading it row by row.

constexpr int64_t PAIR = sizeof(S) == 2 ? 2 : 1, PANEL = 64;

inline void times(int64_t M, int64_t N, int64_t K, int64_t ld_a, int64_t ld_b, int64_t ld_c, bool add,
                  const uint16_t* A, const uint16_t* B, float* C) {
  at::native::cpublas::brgemm(M, N, K, ld_a, ld_b, ld_c, add, reinterpret_cast<const c10::BFloat16*>(A),
                              reinterpret_cast<const c10::BFloat16*>(B), C, true);
}

// One row times a full panel, added up in brgemm's order: brgemm is made for many rows, and reads a panel more slowly
// than memory gives it.
#if defined(__AVX512F__)
constexpr int64_t WIDE = 64;
#elif defined(__AVX2__)
constexpr int64_t WIDE = 32;
#else
constexpr int64_t WIDE = 16;
#endif
inline void one_row(int64_t K, bool add, const float* A, const float* B, float* C) {
  using Some = float __attribute__((vector_size(WIDE), aligned(4), may_alias));
  constexpr int64_t COUNT = PANEL * sizeof(float) / WIDE;  // of them in a panel's row
  Some sums[COUNT] = {};
  const Some* b = reinterpret_cast<const Some*>(B);
  for (int64_t k = 0; k < K; k++, b += COUNT)
#pragma GCC unroll 16
    for (int64_t i = 0; i < COUNT; i++) sums[i] += A[k] * b[i];
  Some* c = reinterpret_cast<Some*>(C);
  for (int64_t i = 0; i < COUNT; i++) c[i] = add ? c[i] + sums[i] : sums[i];
}
inline void times(int64_t M, int64_t N, int64_t K, int64_t ld_a, int64_t ld_b, int64_t ld_c, bool add,
                  const float* A, const float* B, float* C) {
  if (M == 1 && N == PANEL && ld_b == PANEL) return one_row(K, add, A, B, C);
  at::native::cpublas::brgemm(M, N, K, ld_a, ld_b, ld_c, add, A, B, C, false);
}
inline void times(int64_t M, int64_t N, int64_t K, int64_t ld_a, int64_t ld_b, int64_t ld_c, bool add,
                  const double* A, const double* B, double* C) {  // plain: only for checks
  for (int64_t m = 0; m < M; m++)
    for (int64_t n = 0; n < N; n++) {
      double sum = add ? C[m * ld_c + n] : 0.0;
      for (int64_t k = 0; k < K; k++) sum += A[m * ld_a + k] * B[k * ld_b + n];
      C[m * ld_c + n] = sum;
    }
}

// out (B, blocks, H) = of (B, H) times the matrix (H, blocks H), this worker's rows and units
inline void product(const Call& c, const Worker& w, const S* of, const S* matrix, F* out, int64_t blocks) {
  const int64_t H = c.H, N = blocks * H;
  for (int64_t block = 0; block < N; block += H)
    for (int64_t j = w.j0; j < w.j1; j += PANEL) {
      const int64_t width = least(PANEL, H - j);
      times(w.r1 - w.r0, width, H, H, width, N, false, of + w.r0 * H, matrix + (block + j) * H,
            out + w.r0 * N + block + j);
    }
}

// out (B, H) = columns first ... first + length of this step times the matrix (length H, H)
inline void back(const Call& c, const Worker& w, const S* columns, int64_t count, int64_t first, int64_t length,
                 const S* matrix, F* out, bool add) {
  const int64_t H = c.H, K = length * H;
  for (int64_t j = w.j0; j < w.j1; j += PANEL) {
    const int64_t width = least(PANEL, H - j);
    times(w.r1 - w.r0, width, K, count * H, width, H, add, columns + (w.r0 * count + first) * H, matrix + j * K,
          out + w.r0 * H + j);
  }
}

// Packs the matrix (rows, columns), `across`: its transpose, in panels that begin anew at every multiple of `block`
// columns.
// to (columns, ld_to) = from (rows, ld), turned; 16 by 16, so that what lies together is read and written together
template <class T>
void turn(const T* from, int64_t ld, int64_t rows, int64_t columns, T* to, int64_t ld_to) {
  for (int64_t c0 = 0; c0 < columns; c0 += 16)
    for (int64_t r0 = 0; r0 < rows; r0 += 16)
      for (int64_t c = c0; c < least(c0 + 16, columns); c++)
        for (int64_t r = r0; r < least(r0 + 16, rows); r++) to[c * ld_to + r] = from[r * ld + c];
}

using Word = std::conditional_t<PAIR == 2, uint32_t, S>;  // what stays together in a packed factor

void pack_panels(const F* from, S* to, int64_t rows, int64_t columns, int64_t block, bool across, int64_t threads) {
  const int64_t K = across ? columns : rows, N = across ? rows : columns;
  std::vector<int64_t> panels;
  for (int64_t n = 0; n < N; n += least(PANEL, block - n % block)) panels.push_back(n);
  parallel(threads, [&](int64_t thread, int64_t all) {
    std::vector<S> lines(PANEL * K);  // of a panel: its columns, or PAIR rows
    for (size_t p = panels.size() * thread / all; p < panels.size() * (thread + 1) / all; p++) {
      const int64_t n = panels[p], width = least(PANEL, block - n % block);
      Word* out = reinterpret_cast<Word*>(to + n * K);
      const Word* words = reinterpret_cast<const Word*>(lines.data());
      if (across) {
#pragma omp simd
        for (int64_t i = 0; i < width * K; i++) store(lines[i], from[n * K + i]);
        turn(words, K / PAIR, width, K / PAIR, out, width);
      } else {
        for (int64_t k = 0; k < K; k += PAIR)
          for (int64_t i = 0; i < width; i++)
            for (int64_t q = 0; q < PAIR; q++) store(to[n * K + k * width + i * PAIR + q], from[(k + q) * N + n + i]);
      }
    }
  });
}

// ---- the loop over time

void forward_step(const Call& c, const Worker& w, At at);
void backward_step(const Call& c, const Worker& w, At at);

// for every row where `chosen`: to[k, r] = from[k, r], this worker's units
template <class Chosen>
void copy(const Call& c, const Worker& w, F* to, const F* from, Chosen chosen) {
  for (int64_t r = w.r0; r < w.r1; r++)
    if (chosen(r))
      for (int64_t k = 0; k < STATES; k++)
        for (int64_t j = w.j0; j < w.j1; j++) to[(k * c.B + r) * c.H + j] = from[(k * c.B + r) * c.H + j];
}

// Steps that a worker takes together, so that a product outside the recurrence has about so many rows.
inline int64_t together(const Call& c, int64_t rows, int64_t wanted) {
  return least(c.T, rows < wanted ? wanted / rows : 1);
}

// calls work(t, rows): products of steps t ... t + n - 1, in one where the worker has all rows, which then lie together
template <class Work>
void each_product(const Call& c, const Worker& w, int64_t t, int64_t n, Work work) {
  if (w.r1 - w.r0 == c.B) return work(t, n * c.B);
  for (int64_t k = 0; k < n; k++) work(t + k, w.r1 - w.r0);
}

// inputs = x of the steps t ... t + n - 1 times W, this worker's rows and units
void project(const Call& c, const Worker& w, int64_t t, int64_t n) {
  const int64_t H = c.H, N = GATES * H;
  each_product(c, w, t, n, [&](int64_t at, int64_t rows) {
    for (int64_t block = 0; block < N; block += H)
      for (int64_t j = w.j0; j < w.j1; j += PANEL) {
        const int64_t width = least(PANEL, H - j);
        times(rows, width, c.I, c.I, width, N, false, c.x + (at * c.B + w.r0) * c.I, c.W + (block + j) * c.I,
              c.inputs + ((at - t) * c.B + w.r0) * N + block + j);
      }
  });
}

// The input's gradient at the steps t ... t + n - 1: the columns of the gates times W.
void project_back(const Call& c, const Worker& w, int64_t t, int64_t n) {
  const int64_t K = GATES * c.H, ld = COLUMNS * c.H;
  wait(w);
  each_product(c, w, t, n, [&](int64_t at, int64_t rows) {
    for (int64_t i = w.i0; i < w.i1; i += PANEL) {
      const int64_t width = least(PANEL, c.I - i);
      times(rows, width, K, ld, width, c.I, false, c.columns + (at * c.B + w.r0) * ld, c.W + i * K,
            c.input_gradient + (at * c.B + w.r0) * c.I + i);
    }
  });
}

// Adds the steps t ... t + n - 1 to the weights' gradients: what is stored, transposed, times columns. Both are packed
// while they are still in the processor's cache.
void accumulate(const Call& c, const Worker& w, int64_t t, int64_t n, bool first, std::vector<S>& left,
                std::vector<S>& right) {
  const int64_t H = c.H, rows = w.r1 - w.r0, count = n * rows, K = (count + PAIR - 1) / PAIR * PAIR;
  std::vector<int64_t> row(K, 0);  // where the rows lie; an odd last one for bfloat16 is 0
  for (int64_t k = 0; k < count; k++) row[k] = (t + k / rows) * c.B + w.r0 + k % rows;

  int64_t size = 0, width_of_all = 0;
  for (const Factor& f : FACTORS) {
    const int64_t M = f.left < 0 ? c.I : H;
    size += M * f.length * H;
    width_of_all += M;
  }
  right.resize(PANEL * K);
  left.resize(width_of_all * K);
  S* turned = left.data();
  for (const Factor& f : FACTORS) {
    const int64_t M = f.left < 0 ? c.I : H;
    const S* from = f.left < 0 ? c.x : c.stored + f.left * c.places * c.B * H;
    for (int64_t k = 0; k < count; k += rows) turn(from + row[k] * M, M, rows, M, turned + k, K);
    if (K > count)
      for (int64_t m = 0; m < M; m++) turned[m * K + count] = S(0);
    turned += M * K;
  }
  for (int64_t column = 0; column < COLUMNS; column++)
    for (int64_t j = w.j0; j < w.j1; j += PANEL) {
      const int64_t width = least(PANEL, H - j);
      S* to = right.data();
      for (int64_t k = 0; k < K; k += PAIR, to += width * PAIR) {
        const S* upper = c.columns + (row[k] * COLUMNS + column) * H + j;
        const S* lower = c.columns + (row[k + PAIR - 1] * COLUMNS + column) * H + j;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
          to[i * PAIR] = upper[i];
          if (PAIR == 2) to[i * PAIR + 1] = k + 1 < count ? lower[i] : S(0);
        }
      }
      const S* with = left.data();
      F* out = c.products + w.part * size;
      for (const Factor& f : FACTORS) {
        const int64_t M = f.left < 0 ? c.I : H, N = f.length * H;
        if (f.first <= column && column < f.first + f.length)
          times(M, width, K, K, width, N, !first, with, right.data(), out + (column - f.first) * H + j);
        with += M * K;
        out += M * N;
      }
    }
}

// The weights' gradients: the sum over the parts of the rows, turned.
void gather(const Call& c) {
  parallel(c.row_parts * c.column_parts, [&](int64_t thread, int64_t threads) {
    int64_t size = 0, at = 0;
    for (const Factor& f : FACTORS) size += (f.left < 0 ? c.I : c.H) * f.length * c.H;
    for (const Factor& f : FACTORS) {
      const int64_t M = f.left < 0 ? c.I : c.H, N = f.length * c.H;
      for (int64_t n0 = thread * 16; n0 < N; n0 += threads * 16)
        for (int64_t m0 = 0; m0 < M; m0 += 16) {
          const int64_t across = least(16, M - m0), down = least(16, N - n0);
          F sum[16][16] = {};  // line by line: lines that lie 4096 bytes apart drive each other out of the cache
          for (int64_t m = 0; m < across; m++)
            for (int64_t part = 0; part < (c.B ? c.row_parts : 0); part++) {
              const F* line = c.products + part * size + at + (m0 + m) * N + n0;
#pragma omp simd
              for (int64_t n = 0; n < down; n++) sum[m][n] += line[n];
            }
          for (int64_t n = 0; n < down; n++)
#pragma omp simd
            for (int64_t m = 0; m < across; m++) c.gradients[at + (n0 + n) * M + m0 + m] = sum[m][n];
        }
      at += M * N;
    }
  });
}

void forward_rows(const Call& c, const Worker& w) {
  const int64_t half = STATES * c.B * c.H, steps = together(c, w.r1 - w.r0, 32);
  for (int64_t s = 0; s < c.T; s++) {
    const int64_t ahead = least(steps, c.T - s / steps * steps), k = s % steps;
    const int64_t t = c.reverse ? c.T - 1 - s : s, input = c.reverse ? ahead - 1 - k : k;
    if (k == 0) project(c, w, t - input, ahead);
    const At at{t, c.places == c.T ? t : s & 1, input, s & 1};
    F* before = c.state + at.now * half;
    F* after = c.state + (1 - at.now) * half;
    if (c.fresh) copy(c, w, before, c.initial, [&](int64_t r) { return c.fresh[at.t * c.B + r] != 0; });
    forward_step(c, w, at);
    if (c.lengths) {  // a row past its length stands still, and its output is 0
      const auto past = [&](int64_t r) { return at.t >= c.lengths[r]; };
      copy(c, w, after, before, past);
      for (int64_t r = w.r0; r < w.r1; r++)
        if (past(r))
          for (int64_t j = w.j0; j < w.j1; j++) store(c.y[at.t * c.y_step + r * c.y_row + j], F(0));
    }
  }
}

void backward_rows(const Call& c, const Worker& w) {
  const int64_t half = STATES * c.B * c.H, steps = together(c, w.r1 - w.r0, 1024);
  std::vector<S> left, right;
  for (int64_t s = 0; s < c.T; s++) {
    const int64_t t = c.reverse ? s : c.T - 1 - s;
    const At at{t, t, 0, s & 1};
    F* after = c.state + at.now * half;
    F* before = c.state + (1 - at.now) * half;
    backward_step(c, w, at);
    if (c.lengths) copy(c, w, before, after, [&](int64_t r) { return at.t >= c.lengths[r]; });
    if (c.fresh)
      for (int64_t r = w.r0; r < w.r1; r++)
        if (c.fresh[at.t * c.B + r])
          for (int64_t k = 0; k < STATES; k++)
            for (int64_t j = w.j0; j < w.j1; j++) {
              const int64_t i = (k * c.B + r) * c.H + j;
              c.initial[i] += before[i];
              before[i] = 0;
            }
    const int64_t done = s % steps + 1;
    if (done < steps && s + 1 < c.T) continue;
    const int64_t from = c.reverse ? t - done + 1 : t;
    if (c.input_gradient) project_back(c, w, from, done);
    if (c.products) accumulate(c, w, from, done, s < steps, left, right);
  }
}

// The worker's share of the row parts times column parts, for each thread.
template <class Rows>
int run(const Call& c, Rows rows) {
  std::vector<Barrier> barriers(c.row_parts);
  std::atomic<bool> failed{false};
  const auto edge = [&](int64_t size, int64_t k) {  // whole panels each
    return k == c.column_parts ? size : (size + PANEL - 1) / PANEL * k / c.column_parts * PANEL;
  };
  const int64_t all = c.row_parts * c.column_parts;
  parallel(all, [&](int64_t thread, int64_t threads) {
    const int64_t begin = all * thread / threads, end = all * (thread + 1) / threads;
    for (int64_t part = begin / c.column_parts; part * c.column_parts < end; part++) {
      const int64_t first = part * c.column_parts;
      const int64_t from = begin > first ? begin - first : 0;
      const int64_t to = least(end - first, c.column_parts);
      const Worker w{part, c.B * part / c.row_parts, c.B * (part + 1) / c.row_parts, edge(c.H, from), edge(c.H, to),
                     edge(c.I, from), edge(c.I, to), to - from, c.column_parts, &barriers[part]};
      if (from == to || w.r0 == w.r1) continue;
      try {
        rows(c, w);
      } catch (...) {
        failed.store(true);
        w.barrier->broken.store(true);
      }
    }
    if (PAIR == 2) at::native::cpublas::brgemm_release(true);
  });
  return failed.load();
}

// The token at which the cumulated softmax of the logits passes the uniform number; greedy: the likeliest.
int64_t draw(const Text& text, F* logits, F uniform) {
  int64_t likeliest = 0;
  for (int64_t v = 1; v < text.tokens; v++)
    if (logits[v] > logits[likeliest]) likeliest = v;
  if (text.greedy) return likeliest;
  const F most = logits[likeliest];
#pragma omp simd
  for (int64_t v = 0; v < text.tokens; v++) logits[v] = exponential((logits[v] - most) / text.temperature);
  F sum = 0, passed = 0;
  for (int64_t v = 0; v < text.tokens; v++) sum += logits[v];
  for (int64_t v = 0; v < text.tokens; v++)
    if ((passed += logits[v]) > uniform * sum) return v;
  return likeliest;
}

// All by one worker: two would wait for each other at each product of some microseconds. S is F here: what one layer
// puts out is the next one's x.
void write_text(const Call* layers, const Text& text, const Worker& w) {
  const int64_t B = layers[0].B, H = layers[0].H, N = GATES * H;
  const Call& last = layers[text.layers - 1];
  for (int64_t s = 0; s < text.steps; s++) {
    const At at{0, s & 1, 0, s & 1};
    for (int64_t l = 0; l < text.layers; l++) {
      const Call& c = layers[l];
      if (l)
        project(c, w, 0, 1);
      else
        for (int64_t r = 0; r < B; r++)
          std::memcpy(c.inputs + r * N, text.lookup + text.drawn[s * B + r] * N, N * sizeof(F));
      forward_step(c, w, at);
      if (text.residual && l)
        for (int64_t i = 0; i < B * H; i++) c.y[i] += c.x[i];
    }
    for (int64_t n = 0; n < text.tokens; n += PANEL) {
      const int64_t width = least(PANEL, text.tokens - n);
      times(B, width, H, H, width, text.tokens, false, last.y, text.head + n * H, text.logits + n);
    }
    for (int64_t r = 0; r < B; r++) {
      F* logits = text.logits + r * text.tokens;
      for (int64_t v = 0; v < text.tokens; v++) logits[v] += text.bias[v];
      text.drawn[(s + 1) * B + r] = draw(text, logits, text.uniforms[s * B + r]);
    }
  }
}

}  // namespace

// inputs = x W for the rows of one step.
extern "C" int share(const Call* c) {
  return run(*c, [](const Call& call, const Worker& w) { project(call, w, 0, 1); });
}

extern "C" int decode(const Call* layers, const Text* text) {
  return run(layers[0], [&](const Call&, const Worker& w) { write_text(layers, *text, w); });
}

extern "C" int forward(const Call* c) { return run(*c, forward_rows); }
extern "C" int backward(const Call* c) {
  const int failed = run(*c, backward_rows);
  if (!failed && c->products) gather(*c);
  return failed;
}

extern "C" void pack(const F* from, S* to, int64_t rows, int64_t columns, int64_t block, int across, int64_t threads) {
  pack_panels(from, to, rows, columns, block, across, threads);
}

// Whether the products run here: torch refuses them on a processor without the instructions, or with mkldnn off.
extern "C" int supported() {
  try {
    S a[4] = {}, b[4] = {};
    F c[4];
    times(2, 2, 2, 2, 2, 2, false, a, b, c);
    if (PAIR == 2) at::native::cpublas::brgemm_release(true);
    return 1;
  } catch (...) {
    return 0;
  }
}
