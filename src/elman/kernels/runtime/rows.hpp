// ---- functions of a whole row: `n` is the size of the first operand. What is read is F, or S

template <class A>
void row_amax(const A* v, F* out, int64_t n) {
  F most = load(v[0]);
  for (int64_t j = 1; j < n; j++) most = load(v[j]) > most || load(v[j]) != load(v[j]) ? F(load(v[j])) : most;
  *out = most;
}
template <class A>
void row_peak(const A* v, F* out, int64_t n) {
  row_amax(v, out, n);
}
template <class A>
void row_cumsum(const A* v, F* out, int64_t n) {
  F sum = 0;
  for (int64_t j = 0; j < n; j++) out[j] = sum += load(v[j]);
}
template <class A>
void row_reversed_cumsum(const A* v, F* out, int64_t n) {
  F sum = 0;
  for (int64_t j = n; j--;) out[j] = sum += load(v[j]);
}
template <class A>
void row_repeat_interleave(const A* v, F* out, int64_t n, int64_t count) {
  for (int64_t j = 0; j < n; j++)
    for (int64_t k = 0; k < count; k++) out[j * count + k] = load(v[j]);
}
template <class A>
void row_sum_groups(const A* v, F* out, int64_t n, int64_t count) {
  for (int64_t j = 0; j < n / count; j++) {
    F sum = 0;
    for (int64_t k = 0; k < count; k++) sum += load(v[j * count + k]);
    out[j] = sum;
  }
}

// a matrix (n / heads, n / heads) for each of the heads, row by row: v k^T
template <class A, class B>
void row_outer(const A* v, const B* k, F* out, int64_t n, int64_t heads) {
  const int64_t part = n / heads;
  for (int64_t i = 0; i < n; i++) {
    const B* with = k + i / part * part;
#pragma omp simd
    for (int64_t j = 0; j < part; j++) out[i * part + j] = load(v[i]) * load(with[j]);
  }
}

// `n` is here the size of all matrices together: heads part^2
inline int64_t part_of(int64_t n, int64_t heads) { return int64_t(std::lround(std::sqrt(double(n / heads)))); }
template <class A, class B>
void row_matvec(const A* matrix, const B* q, F* out, int64_t n, int64_t heads) {
  const int64_t part = part_of(n, heads);
  for (int64_t i = 0; i < heads * part; i++) {
    const B* with = q + i / part * part;
    F sum = 0;
#pragma omp simd reduction(+:sum)
    for (int64_t j = 0; j < part; j++) sum += load(matrix[i * part + j]) * load(with[j]);
    out[i] = sum;
  }
}
template <class A, class B>
void row_matvec_transposed(const A* matrix, const B* q, F* out, int64_t n, int64_t heads) {
  const int64_t part = part_of(n, heads);
  for (int64_t j = 0; j < heads * part; j++) out[j] = 0;
  for (int64_t i = 0; i < heads * part; i++) {
    F* to = out + i / part * part;
#pragma omp simd
    for (int64_t j = 0; j < part; j++) to[j] += load(matrix[i * part + j]) * load(q[i]);
  }
}

