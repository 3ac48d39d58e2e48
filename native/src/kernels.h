// What the kernels compute on, and the table of them that each variant (instruction set) offers for each dtype.
#pragma once

#include <cstdint>
#include <type_traits>

namespace saam {

struct BFloat16 { uint16_t bits; };
struct Half { uint16_t bits; };

// T is the type in memory, Sum<T> the type of all arithmetic: float for half types, else T itself.
template <class T> using Sum = std::conditional_t<sizeof(T) == 2, float, T>;

// A feature map and its companions. Maps are (B, C, N), or (B, N, C) if interleaved, all of one layout; scores are
// (B, G, N); per-channel values are (B, C). The work is cut into items: `slices` per image, of channels or of pixels.
template <class T> struct Task {
  using A = Sum<T>;
  int64_t batch, channels, pixels, heads = 1, slices = 1;
  bool interleaved;
  const T *x = nullptr, *dy = nullptr;
  T* out = nullptr;                               // y or dx
  const A* factor = nullptr;                      // what meets each channel of x, or of dy in the backward
  const A *weight = nullptr, *scores = nullptr;   // (G, C) or (C), and (B, G, N); one of them in score kernels
  A scale = 1;                                    // 1 / temperature, of the given scores; a weight has it already
  const A *z = nullptr, *dz = nullptr;            // the pooled values and their gradients
  A *mean = nullptr, *variance = nullptr, *peak = nullptr, *ties = nullptr;  // results of the moments
  const A *offset = nullptr, *slope = nullptr, *share = nullptr;             // their gradients: see moments_backward
  const A *best = nullptr, *inverse = nullptr;    // highest score and 1 / sum exp, (B, G)
  double* partial = nullptr;                      // forward: (items, 2 G + C) best, sum, context; see score_forward
  double* dweight = nullptr;                      // (workers, G, C)
  A *values = nullptr, *dscores = nullptr;        // sums over the pixels (B, C); (B, G, N)
};

// Each takes the number of the worker that runs it, and the items [begin, end).
template <class T> using Kernel = void (*)(const Task<T>&, int64_t worker, int64_t begin, int64_t end);

template <class T> struct Kernels {
  Kernel<T> scale, shift;                 // out = x * factor, x + factor
  Kernel<T> sum, product;                 // values = sum dy, sum x * dy
  Kernel<T> moments, moments_backward;
  Kernel<T> channel, channel_backward;    // every channel scores itself
  Kernel<T> score, score_backward;        // G heads score the pixels
};

#define SAAM_DECLARE(variant) \
  namespace variant { template <class T> const Kernels<T>& kernels(); }
SAAM_DECLARE(baseline)
SAAM_DECLARE(avx2)
SAAM_DECLARE(avx512)
#undef SAAM_DECLARE

}  // namespace saam
