// ---- random numbers from a counter: Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011), as in elman/cells/philox.py

constexpr uint32_t EVERY_STEP = 0xffffffffu;

// A number in [0, 1) for a unit, a row, a step and a draw.
inline F uniform(int64_t seed, uint32_t step, uint32_t draw, int64_t row, int64_t unit) {
  uint32_t a = uint32_t(unit), b = uint32_t(row), c = step, d = draw;
  uint32_t k = uint32_t(uint64_t(seed)), m = uint32_t(uint64_t(seed) >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; round++) {
    const uint64_t first = uint64_t(0xd2511f53u) * a, second = uint64_t(0xcd9e8d57u) * c;
    a = uint32_t(second >> 32) ^ b ^ k;
    b = uint32_t(second);
    c = uint32_t(first >> 32) ^ d ^ m;
    d = uint32_t(first);
    k += 0x9e3779b9u;
    m += 0xbb67ae85u;
  }
  return F(int32_t(a >> 8)) * F(1.0 / 16777216);
}

