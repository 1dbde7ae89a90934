"""C++ functions that generated code calls: products of small matrices, and exp."""

PARTS = r"""
#include <algorithm>
#include <cmath>
#include <cstring>
#include <cstdint>
#include <limits>

// Numbers of a vector register; registers for sums, of 32 or 16; vectors of a row that are summed at a time.
#if defined(__AVX512F__)
static constexpr int L = 16, SUMS = 24, WIDEST = 4;
#elif defined(__AVX__)
static constexpr int L = 8, SUMS = 12, WIDEST = 2;
#elif defined(__aarch64__)
static constexpr int L = 4, SUMS = 24, WIDEST = 4;
#else
static constexpr int L = 4, SUMS = 12, WIDEST = 2;
#endif
typedef float lane __attribute__((vector_size(4 * L), aligned(4)));
typedef float quad __attribute__((vector_size(16), aligned(4)));

// The most rows that divide M and leave their sums, W vectors each, in registers.
static constexpr int rows_of(int M, int W) {
  int most = SUMS / W < 16 ? SUMS / W : 16;
  while (M % most) most--;
  return most;
}

// to[K, n] = from[n, K] transposed, where rows of K lie s apart; four by four where the compiler can shuffle.
template <int n, int K, int s, int ld>
static inline void transpose(const float* __restrict from, float* __restrict to) {
  int j = 0;
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
  if (K % 4 == 0) for (; j + 4 <= n; j += 4) {
    for (int k = 0; k < K; k += 4) {
      const quad a = *(const quad*)(from + j * s + k), b = *(const quad*)(from + (j + 1) * s + k);
      const quad c = *(const quad*)(from + (j + 2) * s + k), d = *(const quad*)(from + (j + 3) * s + k);
      const quad e = __builtin_shufflevector(a, b, 0, 4, 1, 5), f = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const quad g = __builtin_shufflevector(c, d, 0, 4, 1, 5), h = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      *(quad*)(to + k * ld + j) = __builtin_shufflevector(e, g, 0, 1, 4, 5);
      *(quad*)(to + (k + 1) * ld + j) = __builtin_shufflevector(e, g, 2, 3, 6, 7);
      *(quad*)(to + (k + 2) * ld + j) = __builtin_shufflevector(f, h, 0, 1, 4, 5);
      *(quad*)(to + (k + 3) * ld + j) = __builtin_shufflevector(f, h, 2, 3, 6, 7);
    }
  }
#endif
#endif
  for (; j < n; j++)
    for (int k = 0; k < K; k++) to[k * ld + j] = from[j * s + k];
}

// c[M, N] = a[M, K] b[K, N]; the last six numbers are strides of rows and columns. L columns are one vector.
template <int M, int N, int K, int ar, int ac, int br, int bc, int cr, int cc>
static __attribute__((noinline)) void product(
    const float* __restrict a, const float* __restrict b, float* __restrict c) {
  constexpr int V = (N + L - 1) / L;
  constexpr int W = V < WIDEST ? V : V % WIDEST == 0 ? WIDEST : V % 3 == 0 ? 3 : V % 2 == 0 ? 2 : 1;
  constexpr int MR = rows_of(M, W), NP = L * V;
  constexpr bool direct = bc == 1 && N % L == 0;
  constexpr int ld = direct ? br : NP;
  alignas(64) float packed[direct ? 1 : K * NP];
  const float* from = b;
  if (!direct) {
    if (br == 1) {
      transpose<N, K, bc, NP>(b, packed);
    } else {
      for (int k = 0; k < K; k++)
        for (int j = 0; j < N; j++) packed[k * NP + j] = b[k * br + j * bc];
    }
    for (int k = 0; k < K; k++)
      for (int j = N; j < NP; j++) packed[k * NP + j] = 0.0f;
    from = packed;
  }
  for (int v = 0; v < V; v += W) {
    for (int i = 0; i < M; i += MR) {
      lane sums[MR][W];
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
        for (int w = 0; w < W; w++) sums[r][w] = lane{};
      for (int k = 0; k < K; k++) {
        lane row[W];
#pragma GCC unroll 4
        for (int w = 0; w < W; w++) row[w] = *(const lane*)(from + k * ld + L * (v + w));
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) {
          const float x = a[(i + r) * ar + k * ac];
#pragma GCC unroll 4
          for (int w = 0; w < W; w++) sums[r][w] += x * row[w];
        }
      }
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
        for (int w = 0; w < W; w++) {
          float* const to = c + (i + r) * cr + L * (v + w) * cc;
          if (cc == 1 && (N % L == 0 || v + w < V - 1)) {
            *(lane*)to = sums[r][w];
          } else if (cc == 1) {
            std::memcpy(to, &sums[r][w], N % L * sizeof(float));
          } else {
            for (int j = 0; j < (N - L * (v + w) < L ? N - L * (v + w) : L); j++) to[j * cc] = sums[r][w][j];
          }
        }
    }
  }
}

// exp to 2 units in the last place: 2^n e^r with |r| <= log(2) / 2, e^r by its series to r^7. NaN stays NaN.
static inline float exponential(float x) {
  const float y = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  const float n = std::floor(y * 1.44269504088896341f + 0.5f);
  const float r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  int32_t bits = ((int32_t)n + 127) << 23;
  float power;
  std::memcpy(&power, &bits, 4);
  const float found = x < -104.0f ? 0.0f : p * power;
  return x != x ? x : x > 88.7f ? std::numeric_limits<float>::infinity() : found;
}

"""
