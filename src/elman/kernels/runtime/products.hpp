// ---- products: C = A B (+ C), rows of A and C ld apart
//
// The right factor B (K, N) is packed in panels of PANEL columns, the rows of a panel contiguous; of bfloat16 two rows
// are interleaved. It is read sequentially, which is twice as fast as reading it row by row.

constexpr int64_t PAIR = sizeof(S) == 2 ? 2 : 1, PANEL = 64;

inline void times(int64_t M, int64_t N, int64_t K, int64_t ld_a, int64_t ld_b, int64_t ld_c, bool add,
                  const uint16_t* A, const uint16_t* B, float* C) {
  at::native::cpublas::brgemm(M, N, K, ld_a, ld_b, ld_c, add, reinterpret_cast<const c10::BFloat16*>(A),
                              reinterpret_cast<const c10::BFloat16*>(B), C, true);
}

// One row times a full panel, summed in the order of brgemm, which for one row does not reach the bandwidth of memory.
#if defined(__AVX512F__)
constexpr int64_t WIDE = 64;
#elif defined(__AVX2__)
constexpr int64_t WIDE = 32;
#else
constexpr int64_t WIDE = 16;
#endif
inline void one_row(int64_t K, bool add, const float* A, const float* B, float* C) {
  using Some = float __attribute__((vector_size(WIDE), aligned(4), may_alias));
  constexpr int64_t COUNT = PANEL * sizeof(float) / WIDE;  // vectors in a row of a panel
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
                  const double* A, const double* B, double* C) {  // a plain loop: float64 is for checks
  for (int64_t m = 0; m < M; m++)
    for (int64_t n = 0; n < N; n++) {
      double sum = add ? C[m * ld_c + n] : 0.0;
      for (int64_t k = 0; k < K; k++) sum += A[m * ld_a + k] * B[k * ld_b + n];
      C[m * ld_c + n] = sum;
    }
}

// out (B, blocks, n) = of (B, K) times the matrix (K, blocks n), the worker's rows and units
inline void product(const Call& c, const Worker& w, const S* of, const S* matrix, F* out, int64_t blocks, int64_t K,
                    Size size) {
  const int64_t n = value(c, size), N = blocks * n;
  const Range units = units_of(c, w, size);
  for (int64_t block = 0; block < N; block += n)
    for (int64_t j = units.begin; j < units.end; j += PANEL) {
      const int64_t width = min64(PANEL, n - j);
      times(w.r1 - w.r0, width, K, K, width, N, false, of + w.r0 * K, matrix + (block + j) * K,
            out + w.r0 * N + block + j);
    }
}

// out (B, n) = the K values from `first` of each row (ld) of columns of this step times the matrix (K, n)
inline void back(const Call& c, const Worker& w, const S* columns, int64_t ld, int64_t first, int64_t K, Size size,
                 const S* matrix, F* out, bool add) {
  const int64_t n = value(c, size);
  const Range units = units_of(c, w, size);
  for (int64_t j = units.begin; j < units.end; j += PANEL) {
    const int64_t width = min64(PANEL, n - j);
    times(w.r1 - w.r0, width, K, ld, width, n, add, columns + w.r0 * ld + first, matrix + j * K, out + w.r0 * n + j);
  }
}

// to (columns, ld_to) = from (rows, ld), transposed in blocks of 16 by 16, for the cache
template <class T>
void transpose(const T* from, int64_t ld, int64_t rows, int64_t columns, T* to, int64_t ld_to) {
  for (int64_t c0 = 0; c0 < columns; c0 += 16)
    for (int64_t r0 = 0; r0 < rows; r0 += 16)
      for (int64_t c = c0; c < min64(c0 + 16, columns); c++)
        for (int64_t r = r0; r < min64(r0 + 16, rows); r++) to[c * ld_to + r] = from[r * ld + c];
}

using Word = std::conditional_t<PAIR == 2, uint32_t, S>;  // the unit of a packed factor

// Packs the matrix (rows, columns), or with `across` its transpose, in panels; at every multiple of `block` columns a new
// panel begins.
void pack_panels(const F* from, S* to, int64_t rows, int64_t columns, int64_t block, bool across, int64_t threads) {
  const int64_t K = across ? columns : rows, N = across ? rows : columns;
  std::vector<int64_t> panels;
  for (int64_t n = 0; n < N; n += min64(PANEL, block - n % block)) panels.push_back(n);
  parallel(threads, [&](int64_t thread, int64_t all) {
    std::vector<S> lines(PANEL * K);  // the columns of a panel, or PAIR rows
    for (size_t p = panels.size() * thread / all; p < panels.size() * (thread + 1) / all; p++) {
      const int64_t n = panels[p], width = min64(PANEL, block - n % block);
      Word* out = reinterpret_cast<Word*>(to + n * K);
      const Word* words = reinterpret_cast<const Word*>(lines.data());
      if (across) {
#pragma omp simd
        for (int64_t i = 0; i < width * K; i++) store(lines[i], from[n * K + i]);
        transpose(words, K / PAIR, width, K / PAIR, out, width);
      } else {
        for (int64_t k = 0; k < K; k += PAIR)
          for (int64_t i = 0; i < width; i++)
            for (int64_t q = 0; q < PAIR; q++) store(to[n * K + k * width + i * PAIR + q], from[(k + q) * N + n + i]);
      }
    }
  });
}

