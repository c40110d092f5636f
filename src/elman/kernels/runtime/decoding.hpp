// ---- decoding: tokens sampled one after another inside the kernel

// Inverse transform sampling: the token at which the cumulative softmax of the logits passes `uniform`. Greedy: argmax.
int64_t sample_token(const DecodeCall& call, F* logits, F uniform) {
  F most = logits[0], sum = 0, passed = 0;
#pragma omp simd reduction(max:most)
  for (int64_t v = 0; v < call.vocabulary; v++) most = logits[v] > most ? logits[v] : most;
  int64_t likeliest = 0;
  while (likeliest < call.vocabulary && logits[likeliest] != most) likeliest++;
  if (likeliest == call.vocabulary) return 0;  // NaN
  if (call.greedy) return likeliest;
#pragma omp simd reduction(+:sum)
  for (int64_t v = 0; v < call.vocabulary; v++) sum += logits[v] = exponential((logits[v] - most) / call.temperature);
  for (int64_t v = 0; v < call.vocabulary; v++)
    if ((passed += logits[v]) > uniform * sum) return v;
  return likeliest;
}

// A worker does its rows alone: workers of the same rows would synchronize at every product, of a few microseconds. S is
// F here: the output of a layer is the x of the next.
void decode_tokens(const Call* layers, const DecodeCall& call, const Worker& w) {
  const int64_t B = layers[0].B, H = layers[0].H, rows = w.r1 - w.r0, N = sum_of(layers[0], INPUT_SIZES, GATES);
  const Call& last = layers[call.layers - 1];
  for (int64_t s = 0; s < call.steps; s++) {
    const At at{0, s & 1, 0, s & 1};
    for (int64_t l = 0; l < call.layers; l++) {
      const Call& c = layers[l];
      if (l)
        project(c, w, 0, 1);
      else
        for (int64_t r = w.r0; r < w.r1; r++)
          std::memcpy(c.inputs + r * N, call.token_inputs + call.tokens[s * B + r] * N, N * sizeof(F));
      forward_step(c, w, at);
      if (call.residual && l)
        for (int64_t i = w.r0 * H; i < w.r1 * H; i++) c.y[i] += c.x[i];
    }
    for (int64_t n = 0; n < call.vocabulary; n += PANEL) {
      const int64_t width = min64(PANEL, call.vocabulary - n);
      times(rows, width, H, H, width, call.vocabulary, false, last.y + w.r0 * H, call.head + n * H,
            call.logits + w.r0 * call.vocabulary + n);
    }
    for (int64_t r = w.r0; r < w.r1; r++) {
      F* logits = call.logits + r * call.vocabulary;
      for (int64_t v = 0; v < call.vocabulary; v++) logits[v] += call.bias[v];
      call.tokens[(s + 1) * B + r] = sample_token(call, logits, call.uniforms[s * B + r]);
    }
  }
}

