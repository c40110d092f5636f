// ---- the loop over time

void forward_step(const Call& c, const Worker& w, At at);
void backward_step(const Call& c, const Worker& w, At at);

// work(i) for the index i in (STATES) of every unit of the worker in row r
template <class Work>
void each_state(const Call& c, const Worker& w, int64_t r, Work work) {
  int64_t before = 0;
  for (const Size* size = STATE_SIZES; size < STATE_SIZES + STATES; size++) {
    const int64_t n = value(c, *size);
    const Range units = units_of(c, w, *size);
    for (int64_t j = units.begin; j < units.end; j++) work(before * c.B + r * n + j);
    before += n;
  }
}

// to = from in every row where `chosen`, the worker's units
template <class Chosen>
void copy(const Call& c, const Worker& w, F* to, const F* from, Chosen chosen) {
  for (int64_t r = w.r0; r < w.r1; r++)
    if (chosen(r)) each_state(c, w, r, [&](int64_t i) { to[i] = from[i]; });
}

void forward_rows(const Call& c, const Worker& w) {
  const int64_t half = sum_of(c, STATE_SIZES, STATES) * c.B, steps = steps_per_product(c, w.r1 - w.r0, 32);
  const Range outputs = units_of(c, w, OUTPUT_SIZE);
  for (int64_t s = 0; s < c.T; s++) {
    const int64_t ahead = min64(steps, c.T - s / steps * steps), k = s % steps;
    const int64_t t = c.reverse ? c.T - 1 - s : s, input = c.reverse ? ahead - 1 - k : k;
    if (k == 0) project(c, w, t - input, ahead);
    const At at{t, c.slots == c.T ? t : s & 1, input, s & 1};
    F* before = c.state + at.now * half;
    F* after = c.state + (1 - at.now) * half;
    if (c.reset) copy(c, w, before, c.initial, [&](int64_t r) { return c.reset[at.t * c.B + r] != 0; });
    forward_step(c, w, at);
    if (c.lengths) {  // past its length a row keeps its state, and its output is 0
      const auto ended = [&](int64_t r) { return at.t >= c.lengths[r]; };
      copy(c, w, after, before, ended);
      for (int64_t r = w.r0; r < w.r1; r++)
        if (ended(r))
          for (int64_t j = outputs.begin; j < outputs.end; j++) store(c.y[at.t * c.y_step + r * c.y_row + j], F(0));
    }
  }
}

void backward_rows(const Call& c, const Worker& w) {
  const int64_t half = sum_of(c, STATE_SIZES, STATES) * c.B, steps = steps_per_product(c, w.r1 - w.r0, 1024);
  std::vector<S> left, right;
  for (int64_t s = 0; s < c.T; s++) {
    const int64_t t = c.reverse ? s : c.T - 1 - s;
    const At at{t, t, 0, s & 1};
    F* after = c.state + at.now * half;
    F* before = c.state + (1 - at.now) * half;
    backward_step(c, w, at);
    if (c.lengths) copy(c, w, before, after, [&](int64_t r) { return at.t >= c.lengths[r]; });
    if (c.reset)
      for (int64_t r = w.r0; r < w.r1; r++)
        if (c.reset[at.t * c.B + r])
          each_state(c, w, r, [&](int64_t i) {
            c.initial[i] += before[i];
            before[i] = 0;
          });
    const int64_t done = s % steps + 1;
    if (done < steps && s + 1 < c.T) continue;
    const int64_t from = c.reverse ? t - done + 1 : t;
    if (c.input_gradient) project_back(c, w, from, done);
    if (c.products) accumulate(c, w, from, done, s < steps, left, right);
  }
}

// Distributes row parts times unit parts over the threads.
template <class Rows>
int run(const Call& c, Rows rows) {
  std::vector<Barrier> barriers(c.row_parts);
  std::atomic<bool> failed{false};
  const auto edge = [&](int64_t size, int64_t k) {  // in whole panels
    return k == c.unit_parts ? size : (size + PANEL - 1) / PANEL * k / c.unit_parts * PANEL;
  };
  const int64_t all = c.row_parts * c.unit_parts;
  parallel(all, [&](int64_t thread, int64_t threads) {
    const int64_t begin = all * thread / threads, end = all * (thread + 1) / threads;
    for (int64_t part = begin / c.unit_parts; part * c.unit_parts < end; part++) {
      const int64_t first = part * c.unit_parts;
      const int64_t from = begin > first ? begin - first : 0;
      const int64_t to = min64(end - first, c.unit_parts);
      const Worker w{part, c.B * part / c.row_parts, c.B * (part + 1) / c.row_parts, edge(c.H, from), edge(c.H, to),
                     edge(c.I, from), edge(c.I, to), to - from, c.unit_parts, &barriers[part]};
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

