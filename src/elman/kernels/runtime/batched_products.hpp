// ---- products outside the recurrence: of the inputs, and of the gradients of inputs and weights, some steps at a time

// Steps that one product outside the recurrence covers, for about so many rows.
inline int64_t steps_per_product(const Call& c, int64_t rows, int64_t wanted) {
  return min64(c.T, rows < wanted ? wanted / rows : 1);
}

// Calls work(t, rows) for the products of steps t ... t + n - 1: once where the worker has all rows, which are contiguous.
template <class Work>
void each_product(const Call& c, const Worker& w, int64_t t, int64_t n, Work work) {
  if (w.r1 - w.r0 == c.B) return work(t, n * c.B);
  for (int64_t k = 0; k < n; k++) work(t + k, w.r1 - w.r0);
}

// inputs = x of the steps t ... t + n - 1 times W, the worker's rows and units
void project(const Call& c, const Worker& w, int64_t t, int64_t n) {
  const int64_t N = sum_of(c, INPUT_SIZES, GATES);
  each_product(c, w, t, n, [&](int64_t at, int64_t rows) {
    int64_t block = 0;
    for (int64_t gate = 0; gate < GATES; gate++) {
      const int64_t size = value(c, INPUT_SIZES[gate]);
      const Range units = units_of(c, w, INPUT_SIZES[gate]);
      for (int64_t j = units.begin; j < units.end; j += PANEL) {
        const int64_t width = min64(PANEL, size - j);
        times(rows, width, c.I, c.I, width, N, false, c.x + (at * c.B + w.r0) * c.I, c.W + (block + j) * c.I,
              c.inputs + ((at - t) * c.B + w.r0) * N + block + j);
      }
      block += size;
    }
  });
}

// The input's gradient at the steps t ... t + n - 1: the columns of the gates times W, added to what a step that reads x
// has left there.
void project_back(const Call& c, const Worker& w, int64_t t, int64_t n) {
  const int64_t K = sum_of(c, INPUT_SIZES, GATES), ld = sum_of(c, COLUMN_SIZES, COLUMNS);
  synchronize(w);
  if (!K) return;
  each_product(c, w, t, n, [&](int64_t at, int64_t rows) {
    for (int64_t i = w.i0; i < w.i1; i += PANEL) {
      const int64_t width = min64(PANEL, c.I - i);
      times(rows, width, K, ld, width, c.I, READS_INPUT, c.columns + (at * c.B + w.r0) * ld, c.W + i * K,
            c.input_gradient + (at * c.B + w.r0) * c.I + i);
    }
  });
}

// Adds the steps t ... t + n - 1 to the weights' gradients: stored values, transposed, times columns. Both are packed
// while they are in the cache.
void accumulate(const Call& c, const Worker& w, int64_t t, int64_t n, bool first, std::vector<S>& left,
                std::vector<S>& right) {
  const int64_t rows = w.r1 - w.r0, count = n * rows, K = (count + PAIR - 1) / PAIR * PAIR;
  const int64_t ld = sum_of(c, COLUMN_SIZES, COLUMNS);
  std::vector<int64_t> row(K, 0);  // the index of each row; for bfloat16 an odd last one is 0
  for (int64_t k = 0; k < count; k++) row[k] = (t + k / rows) * c.B + w.r0 + k % rows;

  int64_t size = 0, width_of_all = 0;
  for (const Factor& f : FACTORS) {
    const int64_t M = value(c, f.size);
    size += M * sum_of(c, COLUMN_SIZES, f.length, f.first);
    width_of_all += M;
  }
  right.resize(PANEL * K);
  left.resize(width_of_all * K);
  S* transposed = left.data();
  for (const Factor& f : FACTORS) {
    const int64_t M = value(c, f.size);
    const S* from = f.left < 0 ? c.x : c.stored + sum_of(c, STORED_SIZES, f.left) * c.slots * c.B;
    for (int64_t k = 0; k < count; k += rows) transpose(from + row[k] * M, M, rows, M, transposed + k, K);
    if (K > count)
      for (int64_t m = 0; m < M; m++) transposed[m * K + count] = S(0);
    transposed += M * K;
  }
  for (int64_t column = 0; column < COLUMNS; column++) {
    const int64_t begin = sum_of(c, COLUMN_SIZES, column), size_of_column = value(c, COLUMN_SIZES[column]);
    const Range units = units_of(c, w, COLUMN_SIZES[column]);
    for (int64_t j = units.begin; j < units.end; j += PANEL) {
      const int64_t width = min64(PANEL, size_of_column - j);
      S* to = right.data();
      for (int64_t k = 0; k < K; k += PAIR, to += width * PAIR) {
        const S* upper = c.columns + row[k] * ld + begin + j;
        const S* lower = c.columns + row[k + PAIR - 1] * ld + begin + j;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
          to[i * PAIR] = upper[i];
          if (PAIR == 2) to[i * PAIR + 1] = k + 1 < count ? lower[i] : S(0);
        }
      }
      const S* with = left.data();
      F* out = c.products + w.part * size;
      for (const Factor& f : FACTORS) {
        const int64_t M = value(c, f.size), N = sum_of(c, COLUMN_SIZES, f.length, f.first);
        if (f.first <= column && column < f.first + f.length)
          times(M, width, K, K, width, N, !first, with, right.data(),
                out + sum_of(c, COLUMN_SIZES, column - f.first, f.first) + j);
        with += M * K;
        out += M * N;
      }
    }
  }
}

// The weights' gradients: the sum over the row parts, transposed.
void reduce_gradients(const Call& c) {
  parallel(c.row_parts * c.unit_parts, [&](int64_t thread, int64_t threads) {
    int64_t size = 0, at = 0;
    for (const Factor& f : FACTORS) size += value(c, f.size) * sum_of(c, COLUMN_SIZES, f.length, f.first);
    for (const Factor& f : FACTORS) {
      const int64_t M = value(c, f.size), N = sum_of(c, COLUMN_SIZES, f.length, f.first);
      for (int64_t n0 = thread * 16; n0 < N; n0 += threads * 16)
        for (int64_t m0 = 0; m0 < M; m0 += 16) {
          const int64_t across = min64(16, M - m0), down = min64(16, N - n0);
          F sum[16][16] = {};  // line by line: lines 4096 bytes apart evict each other from the cache
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

