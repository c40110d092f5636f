// ---- a call: the arguments of a kernel, the fields of `Call` in kernel.py. Arrays are contiguous, the last axis innermost.
// An axis of values of different sizes has them one after another: (GATES) below stands for the sum of the gates' sizes

struct Call {
  int64_t T, B, H, I;
  int64_t row_parts, unit_parts;  // partition: the rows into so many parts, the units of each into so many
  int64_t reverse;                // from the last step to the first
  int64_t slots;                  // of `stored`: T, or 2 used alternately where no backward pass follows
  int64_t y_step, y_row;          // strides of y
  int64_t seed, first_step;       // of random numbers: the step t has the number first_step + t
  const int64_t* lengths;         // (B,) or null
  const uint8_t* reset;           // (T, B) or null: the row is reset to the initial state before the step
  const S* x;                     // (T, B, I)
  const S* W;                     // the input matrix, packed
  const F* bias;                  // (GATES)
  F* inputs;                      // (steps of one product, B, GATES): W x
  F* input_gradient;              // (T, B, I) or null
  S* y;                           // the output; backward its gradient
  F* state;                       // (2, STATES, each (B, size)): read and written alternately; backward their gradient
  F* initial;                     // (STATES, each (B, size)): the state of a row that is reset; backward its gradient
  S* stored;                      // (STORED, each (slots, B, size)): from the forward to the backward pass
  F* row_stored;                  // (ROW_STORED, slots, B)
  F* temporaries;                 // (TEMPORARIES, each (B, size)): from one segment of a step to a later one
  F* row_temporaries;             // (ROW_TEMPORARIES, B)
  F* results;                     // of each product (B, its blocks, size)
  const S* const* matrices;       // the recurrent matrices, packed
  const F* vectors;               // (VECTORS)
  S* columns;                     // (T, B, COLUMNS): gradients, the right factors of the weights' gradients
  F* sums;                        // (row_parts, SUMS): gradients of bias and vectors
  F* taps;                        // (TAPS, each (T, B, size)): recorded values; backward their gradients
  F* products;                    // (row_parts, of each of FACTORS (left, columns)) or null
  F* gradients;                   // of each of FACTORS (columns, left): their sum, transposed
};

// Tokens sampled one after another by layers of this cell; the fields of `DecodeCall` in decoder.py.
struct DecodeCall {
  int64_t steps, layers, vocabulary, residual, greedy;
  const F* token_inputs;   // (vocabulary, GATES, H): W x of each token, for the first layer
  const S* head;           // (H, vocabulary), packed
  const F* bias;           // (vocabulary,)
  F* logits;               // (B, vocabulary)
  const F* uniforms;       // (steps, B) in [0, 1)
  int64_t* tokens;         // (steps + 1, B): the first is given
  F temperature;
};

// ---- sizes

inline int64_t value(const Call& c, Size s) { return (s.of == 0 ? 1 : s.of == 1 ? c.H : c.I) * s.times / s.over; }
template <size_t N>
int64_t sum_of(const Call& c, const Size (&sizes)[N], int64_t count, int64_t first = 0) {
  int64_t sum = 0;
  for (int64_t k = first; k < first + count; k++) sum += value(c, sizes[k]);
  return sum;
}

// ---- workers: each owns some rows and some of their units

struct Barrier {
  std::atomic<int64_t> arrived{0}, round{0};
  std::atomic<bool> broken{false};
};

struct Worker {
  int64_t part, r0, r1, j0, j1;  // its rows and units
  int64_t i0, i1;                // its columns of the input's gradient
  int64_t weight, all;           // unit parts that it does, of how many
  Barrier* barrier;
};

// The worker's units of values of a size: its own of H and of I, all of any other.
struct Range { int64_t begin, end; };
inline Range units_of(const Call& c, const Worker& w, Size s) {
  if (s.of == 1 && s.times == 1 && s.over == 1) return {w.j0, w.j1};
  if (s.of == 2 && s.times == 1 && s.over == 1) return {w.i0, w.i1};
  return {0, value(c, s)};
}

// The step; its slot in `stored` and its index in `inputs`; the half of `state` that is read.
struct At { int64_t t, slot, input, now; };

struct Broken : std::exception {};

// A barrier of all workers of the same rows.
inline void synchronize(const Worker& w) {
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
    if (spins > 1000) sched_yield();  // the other worker may need this core
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

// Calls work(thread, threads) in at most so many threads.
template <class Work>
void parallel(int64_t threads, Work work) {
  GOMP_parallel([](void* data) { (*static_cast<Work*>(data))(omp_get_thread_num(), omp_get_num_threads()); }, &work,
                unsigned(threads), 0);
}

