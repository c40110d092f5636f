}  // namespace

// inputs = x W for the rows of one step.
extern "C" int project_inputs(const Call* c) {
  return run(*c, [](const Call& call, const Worker& w) { project(call, w, 0, 1); });
}

extern "C" int decode(const Call* layers, const DecodeCall* call) {
  return run(layers[0], [&](const Call&, const Worker& w) { decode_tokens(layers, *call, w); });
}

extern "C" int forward(const Call* c) { return run(*c, forward_rows); }
extern "C" int backward(const Call* c) {
  const int failed = run(*c, backward_rows);
  if (!failed && c->products) reduce_gradients(*c);
  return failed;
}

// The weights' gradients from the stored values and the columns of all steps.
extern "C" int weight_gradients(const Call* c) {
  const int failed = run(*c, [](const Call& call, const Worker& w) {
    const int64_t steps = steps_per_product(call, w.r1 - w.r0, 1024);
    std::vector<S> left, right;
    for (int64_t t = 0; t < call.T; t += steps) accumulate(call, w, t, min64(steps, call.T - t), t == 0, left, right);
  });
  if (!failed) reduce_gradients(*c);
  return failed;
}

extern "C" void pack(const F* from, S* to, int64_t rows, int64_t columns, int64_t block, int across, int64_t threads) {
  pack_panels(from, to, rows, columns, block, across, threads);
}

// Whether the products run here: torch has none for a processor without the instructions, or with mkldnn off.
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
