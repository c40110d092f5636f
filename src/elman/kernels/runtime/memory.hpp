// ---- memory: what is stored is F, or F rounded to bfloat16

inline float load(uint16_t v) { return bits(int32_t(uint32_t(v) << 16)); }
inline float load(float v) { return v; }
inline double load(double v) { return v; }
inline void store(uint16_t& to, float v) {
  const uint32_t i = uint32_t(bits(v));
  to = uint16_t(v != v ? 0x7fc0 : (i + 0x7fff + ((i >> 16) & 1)) >> 16);
}
inline void store(float& to, float v) { to = v; }
inline void store(double& to, double v) { to = v; }

// A segment computes in tiles of TILE units, in F: `load_tile` widens what is read, `store_tile` rounds what was written.
// Arrays of F are used in place.
constexpr int64_t TILE = 128;
using Tile = F[TILE];

inline const F* load_tile(const F* from, Tile&, int64_t) { return from; }
inline const float* load_tile(const uint16_t* from, float (&tile)[TILE], int64_t n) {
#pragma omp simd
  for (int64_t j = 0; j < n; j++) tile[j] = load(from[j]);
  return tile;
}
inline F* target_tile(F* to, Tile&) { return to; }
inline float* target_tile(uint16_t*, float (&tile)[TILE]) { return tile; }
inline void store_tile(F*, const Tile&, int64_t) {}
inline void store_tile(uint16_t* to, const float (&tile)[TILE], int64_t n) {
  int64_t j = 0;
#ifdef __AVX512BF16__
  for (; j + 16 <= n; j += 16) {  // inline assembly: the header with the intrinsic takes a quarter of the compile time
    float __attribute__((vector_size(64))) given;
    uint16_t __attribute__((vector_size(32))) rounded;
    std::memcpy(&given, tile + j, 64);
    asm("vcvtneps2bf16 %1, %0" : "=v"(rounded) : "v"(given));
    std::memcpy(to + j, &rounded, 32);
  }
#endif
#pragma omp simd
  for (int64_t i = j; i < n; i++) store(to[i], tile[i]);
}

