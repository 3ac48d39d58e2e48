// Elementwise work on maps, and sums over their pixels, channel by channel.
//
// An operation is a struct with a static template step(in, parameter, sum) on vectors: `in` are the maps' values,
// `parameter` what its channel has, `sum` what is accumulated over the pixels (by join, from start).
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "vector.h"

namespace saam::SAAM_VARIANT {
namespace {

struct Cell { int64_t image, channel, channels, pixel, pixels; };

template <int Inputs, int Parameters, int Sums, bool Writes> struct Operation {
  static constexpr int inputs = Inputs, parameters = Parameters, sums = Sums;
  static constexpr bool writes = Writes;
  static constexpr double start = 0;
  template <class V> static V join(V a, V b) { return a + b; }
};

template <class Op, class T> struct Operands {
  std::array<const T*, Op::inputs> in;
  std::array<const Sum<T>*, Op::parameters> parameter;  // of the image, by channel
  T* out = nullptr;
  double* sums = nullptr;  // (Op::sums, cell.channels)
};

template <int N> constexpr int kAtLeastOne = N > 0 ? N : 1;

// The sums of U vectors of channels or pixels while a stretch of the map passes by.
template <class Op, class A, int L, int U> struct Pass {
  using V = Vec<A, L>;
  V parameter[U][kAtLeastOne<Op::parameters>], sum[U][kAtLeastOne<Op::sums>];

  SAAM_INLINE Pass() {
    for (auto& row : sum)
      for (V& s : row) s = splat<V>(A(Op::start));
  }

  // One vector of pixels; if `some`, only n lanes of it.
  template <class T> SAAM_INLINE void step(const Operands<Op, T>& o, int u, int64_t at) {
    V in[kAtLeastOne<Op::inputs>];
    for (int i = 0; i < Op::inputs; ++i) in[i] = load<L>(o.in[i] + at);
    const V y = Op::step(in, parameter[u], sum[u]);
    if constexpr (Op::writes) store<L>(o.out + at, y);
  }

  template <class T> SAAM_INLINE void step_some(const Operands<Op, T>& o, int64_t at, int64_t n, int64_t size) {
    V in[kAtLeastOne<Op::inputs>], fresh[kAtLeastOne<Op::sums>];
    for (int i = 0; i < Op::inputs; ++i) in[i] = load_some<L>(o.in[i] + at, n, size - at);
    for (int i = 0; i < Op::sums; ++i) fresh[i] = splat<V>(A(Op::start));
    const V y = Op::step(in, parameter[0], fresh);
    for (int i = 0; i < Op::sums; ++i)
      sum[0][i] = Op::join(sum[0][i],
                           first_of<A, L>(fresh[i], splat<V>(A(Op::start)), n, std::make_integer_sequence<int, L>{}));
    if constexpr (Op::writes) store_some<L>(o.out + at, y, n);
  }
};

// One channel of a planar map: n neighbours in memory.
template <class Op, class T, class A>
SAAM_INLINE void along_row(const Operands<Op, T>& o, int64_t at, int64_t n, int64_t size, const A* parameter, A* sum) {
  constexpr int L = kLanes<A>, U = 4;
  Pass<Op, A, L, U> pass;
  for (auto& row : pass.parameter)
    for (int i = 0; i < Op::parameters; ++i) row[i] = splat<Vec<A, L>>(parameter[i]);
  int64_t k = 0;
  for (; k + U * L <= n; k += U * L)
    for (int u = 0; u < U; ++u) pass.step(o, u, at + k + u * L);
  for (; k + L <= n; k += L) pass.step(o, 0, at + k);
  if (k < n) pass.step_some(o, at + k, n - k, size);
  for (int i = 0; i < Op::sums; ++i) {
    for (int u = 1; u < U; ++u) pass.sum[0][i] = Op::join(pass.sum[0][i], pass.sum[u][i]);
    sum[i] = across<L>(pass.sum[0][i], [](auto a, auto b) { return Op::join(a, b); });
  }
}

// U * L channels of an interleaved map in `rows` pixels, or n < L of them.
template <class Op, int U, class T>
SAAM_INLINE void down_rows(const Operands<Op, T>& o, const Cell& cell, int64_t at, int64_t c, int64_t stride,
                           int64_t rows, int64_t n, int64_t size) {
  using A = Sum<T>;
  constexpr int L = kLanes<A>;
  Pass<Op, A, L, U> pass;
  for (int u = 0; u < U; ++u)
    for (int i = 0; i < Op::parameters; ++i)
      pass.parameter[u][i] = load_some<L>(o.parameter[i] + cell.channel + c + u * L, n, n);
  for (int64_t r = 0; r < rows; ++r, at += stride) {
    if (n < L) {
      pass.step_some(o, at + c, n, size);
    } else {
      for (int u = 0; u < U; ++u) pass.step(o, u, at + c + u * L);
    }
  }
  for (int i = 0; i < Op::sums; ++i)
    for (int u = 0; u < U; ++u) {
      double* sum = o.sums + i * cell.channels + c + u * L;
      const auto wide = __builtin_convertvector(pass.sum[u][i], Vec<double, L>);
      if (n == L) store<L>(sum, Op::join(load<L>(sum), wide));
      else
        for (int64_t lane = 0; lane < n; ++lane) sum[lane] = Op::join(sum[lane], double(wide[lane]));
    }
}

template <class Op, class T> void sweep(const Shape& shape, const Cell& cell, const Operands<Op, T>& o) {
  using A = Sum<T>;
  constexpr int L = kLanes<A>;
  constexpr int64_t kStretch = 1024;
  const int64_t size = shape.batch * shape.channels * shape.pixels;
  if (shape.interleaved) {
    // So many streams as the processor can prefetch; a row at a time if nothing is summed over the rows.
    const int64_t rows = !Op::sums ? 1 : cell.channels * sizeof(A) > 512 ? 16 / Op::inputs : 32;
    for (int64_t r = 0; r < cell.pixels; r += rows) {
      const int64_t from = (cell.image * shape.pixels + cell.pixel + r) * shape.channels + cell.channel;
      const int64_t count = std::min(rows, cell.pixels - r);
      constexpr int U = Op::sums > 1 || Op::parameters > 3 ? 1 : 2;
      int64_t c = 0;
      for (; c + U * L <= cell.channels; c += U * L) down_rows<Op, U>(o, cell, from, c, shape.channels, count, L, size);
      for (; c < cell.channels; c += L)
        down_rows<Op, 1>(o, cell, from, c, shape.channels, count, std::min<int64_t>(L, cell.channels - c), size);
    }
    return;
  }
  for (int64_t c = 0; c < cell.channels; ++c) {
    A parameter[kAtLeastOne<Op::parameters>];
    for (int i = 0; i < Op::parameters; ++i) parameter[i] = o.parameter[i][cell.channel + c];
    const int64_t row = (cell.image * shape.channels + cell.channel + c) * shape.pixels + cell.pixel;
    for (int64_t k = 0; k < cell.pixels; k += kStretch) {
      const int64_t n = std::min(kStretch, cell.pixels - k);
      A sum[kAtLeastOne<Op::sums>];
      along_row(o, row + k, n, size, parameter, sum);
      for (int i = 0; i < Op::sums; ++i) {
        double& whole = o.sums[i * cell.channels + c];
        whole = Op::join(whole, double(sum[i]));
      }
    }
  }
}

// The items of a channelwise kernel: slice s of an image has the channels from s * C / slices on.
template <class F> void each_channels(const Shape& shape, Items items, F&& work) {
  for (int64_t item = items.end - 1; item >= items.begin; --item) {
    const int64_t slice = item % shape.slices, first = shape.channels * slice / shape.slices;
    work(Cell{item / shape.slices, first, shape.channels * (slice + 1) / shape.slices - first, 0, shape.pixels});
  }
}

// Cuts a cell into parts that stay in the first-level cache, whole pixels or whole channels as they lie in memory.
template <class F> void each_part(const Shape& shape, const Cell& cell, F&& work) {
  constexpr int64_t kElements = 4096;
  const int64_t pixels = shape.interleaved ? std::clamp<int64_t>(kElements / cell.channels, 16, 64) : kElements;
  const int64_t channels = shape.interleaved ? cell.channels : std::max<int64_t>(1, kElements / cell.pixels);
  for (int64_t c = 0; c < cell.channels; c += channels)
    for (int64_t p = 0; p < cell.pixels; p += pixels)
      work(Cell{cell.image, cell.channel + c, std::min(channels, cell.channels - c), p,
                std::min(pixels, cell.pixels - p)});
}

}  // namespace
}  // namespace saam::SAAM_VARIANT
