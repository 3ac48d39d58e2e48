// The kernels. This file is compiled once for each variant, with its instruction set and its name in SAAM_VARIANT.
//
// Every kernel reads each map once. Sums run in the vectors' type over a short stretch of pixels, and in double over
// the stretches, so that large maps lose no accuracy. Passes that follow another pass over the same maps walk the
// images backwards, to find the last ones still in the cache.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "vector.h"

namespace saam {
namespace SAAM_VARIANT {
namespace {

// ---- Elementwise work, channel by channel ----------------------------------------------------------------------
//
// An operation is a struct with a static template step(in, parameter, sum) on vectors: `in` are the maps' values,
// `parameter` what its channel has, `sum` what is accumulated over the pixels (by join, from start).

struct Cell {
  int64_t image, channel, channels, pixel, pixels;
};

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
      sum[0][i] = Op::join(sum[0][i], first_of<A, L>(fresh[i], splat<V>(A(Op::start)), n,
                                                     std::make_integer_sequence<int, L>{}));
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
      else for (int64_t lane = 0; lane < n; ++lane) sum[lane] = Op::join(sum[lane], double(wide[lane]));
    }
}

template <class Op, class T> void sweep(const Task<T>& t, const Cell& cell, const Operands<Op, T>& o) {
  using A = Sum<T>;
  constexpr int L = kLanes<A>;
  constexpr int64_t kStretch = 1024;
  const int64_t size = t.batch * t.channels * t.pixels;
  if (t.interleaved) {
    // So many streams as the processor can prefetch; a row at a time if nothing is summed over the rows.
    const int64_t rows = !Op::sums ? 1 : cell.channels * sizeof(A) > 512 ? 16 / Op::inputs : 32;
    for (int64_t r = 0; r < cell.pixels; r += rows) {
      const int64_t from = (cell.image * t.pixels + cell.pixel + r) * t.channels + cell.channel;
      const int64_t count = std::min(rows, cell.pixels - r);
      constexpr int U = Op::sums > 1 || Op::parameters > 3 ? 1 : 2;
      int64_t c = 0;
      for (; c + U * L <= cell.channels; c += U * L)
        down_rows<Op, U>(o, cell, from, c, t.channels, count, L, size);
      for (; c < cell.channels; c += L)
        down_rows<Op, 1>(o, cell, from, c, t.channels, count, std::min<int64_t>(L, cell.channels - c), size);
    }
    return;
  }
  for (int64_t c = 0; c < cell.channels; ++c) {
    A parameter[kAtLeastOne<Op::parameters>];
    for (int i = 0; i < Op::parameters; ++i) parameter[i] = o.parameter[i][cell.channel + c];
    const int64_t row = (cell.image * t.channels + cell.channel + c) * t.pixels + cell.pixel;
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
template <class T, class F> void each_channels(const Task<T>& t, int64_t begin, int64_t end, F&& work) {
  for (int64_t item = end - 1; item >= begin; --item) {
    const int64_t slice = item % t.slices, first = t.channels * slice / t.slices;
    work(Cell{item / t.slices, first, t.channels * (slice + 1) / t.slices - first, 0, t.pixels});
  }
}

// Cuts a cell into parts that stay in the first-level cache, whole pixels or whole channels as they lie in memory.
template <class T, class F> void each_part(const Task<T>& t, const Cell& cell, F&& work) {
  constexpr int64_t kElements = 4096;
  const int64_t pixels = t.interleaved ? std::clamp<int64_t>(kElements / cell.channels, 16, 64) : kElements;
  const int64_t channels = t.interleaved ? cell.channels : std::max<int64_t>(1, kElements / cell.pixels);
  for (int64_t c = 0; c < cell.channels; c += channels)
    for (int64_t p = 0; p < cell.pixels; p += pixels)
      work(Cell{cell.image, cell.channel + c, std::min(channels, cell.channels - c), p,
                std::min(pixels, cell.pixels - p)});
}

struct Scale : Operation<1, 1, 0, true> {
  template <class V> static V step(const V* in, const V* p, V*) { return in[0] * p[0]; }
};

struct Shift : Operation<1, 1, 0, true> {
  template <class V> static V step(const V* in, const V* p, V*) { return in[0] + p[0]; }
};

template <class Op, class T> void meet(const Task<T>& t, int64_t, int64_t begin, int64_t end) {
  each_channels(t, begin, end, [&](const Cell& cell) {
    sweep<Op, T>(t, cell, {{t.x}, {t.factor + cell.image * t.channels}, t.out});
  });
}

struct Total : Operation<1, 0, 1, false> {
  template <class V> static V step(const V* in, const V*, V* sum) { return sum[0] += in[0]; }
};

struct Product : Operation<2, 0, 1, false> {
  template <class V> static V step(const V* in, const V*, V* sum) { return sum[0] += in[0] * in[1]; }
};

template <class Op, class T> void add_up(const Task<T>& t, int64_t, int64_t begin, int64_t end) {
  std::vector<double> sums(t.channels);
  each_channels(t, begin, end, [&](const Cell& cell) {
    std::fill_n(sums.begin(), cell.channels, 0.0);
    Operands<Op, T> o{{}, {}, nullptr, sums.data()};
    o.in[0] = t.dy;
    if constexpr (Op::inputs == 2) o.in[1] = t.x;
    sweep<Op, T>(t, cell, o);
    std::copy_n(sums.begin(), cell.channels, t.values + cell.image * t.channels + cell.channel);
  });
}

// ---- Mean, variance and maximum --------------------------------------------------------------------------------

struct Deviation : Operation<1, 1, 1, false> {
  template <class V> static V step(const V* in, const V* p, V* sum) {
    const V d = in[0] - p[0];
    return sum[0] += d * d;
  }
};

struct Peak : Operation<1, 0, 1, false> {
  static constexpr double start = -std::numeric_limits<double>::infinity();
  template <class V> static V join(V a, V b) { return larger(a, b); }
  template <class V> static V step(const V* in, const V*, V* sum) { return sum[0] = larger(sum[0], in[0]); }
};

struct Ties : Operation<1, 1, 1, false> {
  template <class V> static V step(const V* in, const V* p, V* sum) {
    return sum[0] += in[0] == p[0] ? V{} + 1 : V{};
  }
};

// Running statistics of a channel, and how those of further pixels join them (Chan, Golub and LeVeque 1979).
struct Running {
  double pixels = 0, sum = 0, squares = 0, peak = Peak::start, ties = 0;
};

template <class T> void moments(const Task<T>& t, int64_t, int64_t begin, int64_t end) {
  using A = Sum<T>;
  std::vector<Running> running(t.channels);
  std::vector<double> sums(t.channels);
  std::vector<A> values(t.channels);
  each_channels(t, begin, end, [&](const Cell& item) {
    const int64_t base = item.image * t.channels;
    if (!t.variance && !t.peak) {
      std::fill_n(sums.begin(), item.channels, 0.0);
      sweep<Total, T>(t, item, {{t.x}, {}, nullptr, sums.data()});
      for (int64_t c = 0; c < item.channels; ++c) t.mean[base + item.channel + c] = A(sums[c] / double(t.pixels));
      return;
    }
    std::fill(running.begin(), running.end(), Running{});
    each_part(t, item, [&](const Cell& cell) {
      Running* now = running.data() + cell.channel;
      A* value = values.data() + cell.channel;
      const double n = double(cell.pixels);
      auto collect = [&](auto op, auto... parameter) {
        using Op = decltype(op);
        std::fill_n(sums.begin(), cell.channels, Op::start);
        sweep<Op, T>(t, cell, {{t.x}, {parameter...}, nullptr, sums.data()});
      };
      if (t.mean) {
        collect(Total{});
        for (int64_t c = 0; c < cell.channels; ++c) {
          const double mean = sums[c] / n, before = now[c].pixels, whole = before + n;
          const double delta = before ? mean - now[c].sum / before : 0;
          value[c] = A(mean);
          now[c].squares += delta * delta * before * n / whole;
          now[c].sum += sums[c];
          now[c].pixels = whole;
        }
      }
      if (t.variance) {
        collect(Deviation{}, values.data());
        for (int64_t c = 0; c < cell.channels; ++c) now[c].squares += sums[c];
      }
      if (t.peak) {
        collect(Peak{});
        for (int64_t c = 0; c < cell.channels; ++c) {
          value[c] = A(sums[c]);
          const double peak = larger(now[c].peak, sums[c]);
          if (now[c].peak != peak) now[c].ties = 0;
          now[c].peak = peak;
        }
        collect(Ties{}, values.data());
        for (int64_t c = 0; c < cell.channels; ++c)
          if (double(value[c]) == now[c].peak) now[c].ties += sums[c];
      }
    });
    for (int64_t c = item.channel; c < item.channel + item.channels; ++c) {
      if (t.mean) t.mean[base + c] = A(running[c].sum / double(t.pixels));
      if (t.variance) t.variance[base + c] = A(running[c].squares / double(t.pixels));
      if (t.peak) {
        t.peak[base + c] = A(running[c].peak);
        t.ties[base + c] = A(running[c].ties);
      }
    }
  });
}

// dx = factor * dy + offset, + slope * x (for a variance) or + share * [x == peak] (for a maximum)
enum class From { kMean, kVariance, kMax };

template <bool Joint, From from>
struct MomentsBackward : Operation<Joint + (from != From::kMean), 1 + Joint + int(from), 0, true> {
  template <class V> static V step(const V* in, const V* p, V*) {
    V y = p[0];
    if constexpr (Joint) y += in[0] * p[1];
    if constexpr (from == From::kVariance) y += in[Joint] * p[1 + Joint];
    if constexpr (from == From::kMax) y += in[Joint] == p[1 + Joint] ? p[2 + Joint] : V{};
    return y;
  }
};

template <bool Joint, From from, class T>
void moments_backward_as(const Task<T>& t, int64_t begin, int64_t end) {
  using Op = MomentsBackward<Joint, from>;
  each_channels(t, begin, end, [&](const Cell& cell) {
    Operands<Op, T> o{{}, {}, t.out};
    const int64_t row = cell.image * t.channels;
    o.parameter[0] = t.offset + row;
    if constexpr (Joint) o.in[0] = t.dy, o.parameter[1] = t.factor + row;
    if constexpr (from != From::kMean) o.in[Joint] = t.x;
    if constexpr (from == From::kVariance) o.parameter[1 + Joint] = t.slope + row;
    if constexpr (from == From::kMax) o.parameter[1 + Joint] = t.peak + row, o.parameter[2 + Joint] = t.share + row;
    sweep<Op, T>(t, cell, o);
  });
}

template <class T> void moments_backward(const Task<T>& t, int64_t, int64_t begin, int64_t end) {
  constexpr From kinds[] = {From::kMean, From::kVariance, From::kMax};
  constexpr void (*table[2][3])(const Task<T>&, int64_t, int64_t) = {
      {moments_backward_as<false, kinds[0], T>, moments_backward_as<false, kinds[1], T>,
       moments_backward_as<false, kinds[2], T>},
      {moments_backward_as<true, kinds[0], T>, moments_backward_as<true, kinds[1], T>,
       moments_backward_as<true, kinds[2], T>}};
  table[t.dy != nullptr][t.slope ? 1 : t.peak ? 2 : 0](t, begin, end);
}

// ---- Every channel scores itself: s = weight * x ---------------------------------------------------------------

struct Highest : Peak {
  static constexpr int parameters = 1;
  template <class V> static V step(const V* in, const V* p, V* sum) { return sum[0] = larger(sum[0], in[0] * p[0]); }
};

template <class V> SAAM_INLINE V exponential_of(V x) {
  using A = std::remove_reference_t<decltype(x[0])>;
  return exponential<A, int(sizeof(V) / sizeof(A))>(x);
}

struct Exponentials : Operation<1, 2, 2, false> {
  template <class V> static V step(const V* in, const V* p, V* sum) {
    const V e = exponential_of(in[0] * p[0] - p[1]);
    sum[0] += e;
    return sum[1] += e * in[0];
  }
};

// -infinity as the highest score so far means that nothing has weight yet: exp(s - 0) is then 0, and not NaN.
template <class A> A base_of(A best) { return best == -std::numeric_limits<A>::infinity() ? A(0) : best; }

// What a softmax needs of a stretch of pixels: the highest score, the sum of exp, the sum of exp times x. Stretches
// are joined by bringing both to one base ("online softmax", Milakov and Gimelshein 2018).
template <class T> void channel(const Task<T>& t, int64_t, int64_t begin, int64_t end) {
  using A = Sum<T>;
  std::vector<double> sums(2 * t.channels);
  std::vector<A> base(t.channels);
  each_channels(t, begin, end, [&](const Cell& item) {
    double* row = t.partial + item.image * 3 * t.channels;
    double *best = row, *sum = row + t.channels, *context = row + 2 * t.channels;
    std::fill_n(best + item.channel, item.channels, Highest::start);
    std::fill_n(sum + item.channel, item.channels, 0.0);
    std::fill_n(context + item.channel, item.channels, 0.0);
    each_part(t, item, [&](const Cell& cell) {
      std::fill_n(sums.begin(), cell.channels, Highest::start);
      sweep<Highest, T>(t, cell, {{t.x}, {t.weight}, nullptr, sums.data()});
      for (int64_t i = 0; i < cell.channels; ++i) {
        const int64_t c = cell.channel + i;
        const double highest = larger(best[c], sums[i]), decay = std::exp(best[c] - base_of(highest));
        base[c] = A(base_of(highest));
        best[c] = highest;
        sum[c] *= decay;
        context[c] *= decay;
      }
      std::fill_n(sums.begin(), 2 * cell.channels, 0.0);
      sweep<Exponentials, T>(t, cell, {{t.x}, {t.weight, base.data()}, nullptr, sums.data()});
      for (int64_t i = 0; i < cell.channels; ++i) {
        sum[cell.channel + i] += sums[i];
        context[cell.channel + i] += sums[cell.channels + i];
      }
    });
  });
}

// With p the softmax: dx = factor * dy + p dz (1 + weight (x - z)), dweight = sum p dz (x - z)^2.
template <bool Joint> struct ChannelBackward : Operation<1 + Joint, 5 + Joint, 1, true> {
  template <class V> static V step(const V* in, const V* p, V* sum) {
    const V d = exponential_of(in[0] * p[0] - p[1]) * p[2] * p[3], centred = in[0] - p[4];
    sum[0] += d * centred * centred;
    const V y = d + p[0] * d * centred;
    if constexpr (Joint) return y + in[1] * p[5];
    return y;
  }
};

template <bool Joint, class T>
void channel_backward_as(const Task<T>& t, int64_t worker, int64_t begin, int64_t end) {
  std::vector<double> sums(t.channels);
  each_channels(t, begin, end, [&](const Cell& cell) {
    const int64_t row = cell.image * t.channels;
    std::fill_n(sums.begin(), cell.channels, 0.0);
    Operands<ChannelBackward<Joint>, T> o{{t.x}, {t.weight, t.best + row, t.inverse + row, t.dz + row, t.z + row},
                                          t.out, sums.data()};
    if constexpr (Joint) o.in[1] = t.dy, o.parameter[5] = t.factor + row;
    sweep<ChannelBackward<Joint>, T>(t, cell, o);
    for (int64_t c = 0; c < cell.channels; ++c) t.dweight[worker * t.channels + cell.channel + c] += sums[c];
  });
}

template <class T> void channel_backward(const Task<T>& t, int64_t worker, int64_t begin, int64_t end) {
  (t.dy ? channel_backward_as<true, T> : channel_backward_as<false, T>)(t, worker, begin, end);
}

// ---- G heads score the pixels ----------------------------------------------------------------------------------
//
// A tile is all channels of some pixels, small enough for the last-level cache (smaller ones were slower: their rows are
// too short to be fetched ahead); it is read from memory once and used several times. As a matrix its rows are channels (planar) or pixels (interleaved), and the two products below serve
// both layouts, with their parts exchanged: the scores are one of them, the context is the other.

template <class T> struct Matrix {
  const T* data;
  int64_t rows, columns, stride, room;  // room: elements that may be read from data on

  Matrix from(int64_t row, int64_t count) const {
    return {data + row * stride, std::min(count, rows - row), columns, stride, room - row * stride};
  }
};

// The products take x - centre in place of x where a centre is given; it has one number for each row of a planar tile, for
// each column of an interleaved one.

// out[k] += sum over rows r of coefficient[r * step] * (m[r][k] - centre[r]); `out` has room for whole vectors.
template <int R, bool Centred, class T, class A>
SAAM_INLINE void add_some_rows(const Matrix<T>& m, const A* coefficient, int64_t step, const A* centre, A* out) {
  constexpr int L = kLanes<A>;
  using V = Vec<A, L>;
  auto value = [&](V x, int r) { return Centred ? x - centre[r] : x; };
  V c[R];
  for (int r = 0; r < R; ++r) c[r] = splat<V>(coefficient[r * step]);
  int64_t k = 0;
  for (; k + 2 * L <= m.columns; k += 2 * L) {  // whole cache lines: rows a power of two apart evict each other's
    V sum[2] = {};
    for (int r = 0; r < R; ++r)
      for (int i = 0; i < 2; ++i) sum[i] += c[r] * value(load<L>(m.data + r * m.stride + k + i * L), r);
    for (int i = 0; i < 2; ++i) store<L>(out + k + i * L, load<L>(out + k + i * L) + sum[i]);
  }
  for (; k + L <= m.columns; k += L) {
    V sum{};
    for (int r = 0; r < R; ++r) sum += c[r] * value(load<L>(m.data + r * m.stride + k), r);
    store<L>(out + k, load<L>(out + k) + sum);
  }
  if (k == m.columns) return;
  V sum{};
  for (int64_t r = 0, at = k; r < R; ++r, at += m.stride)
    sum += c[r] * value(load_some<L>(m.data + at, m.columns - k, m.room - at), int(r));
  store<L>(out + k, load<L>(out + k) + first_of<A, L>(sum, V{}, m.columns - k, std::make_integer_sequence<int, L>{}));
}

template <bool Centred = false, class T, class A>
void add_rows(const Matrix<T>& m, const A* coefficient, int64_t step, A* out, const A* centre = nullptr) {
  int64_t r = 0;
  for (; r + 8 <= m.rows; r += 8)
    add_some_rows<8, Centred>(m.from(r, 8), coefficient + r * step, step, centre + (Centred ? r : 0), out);
  for (; r < m.rows; ++r)
    add_some_rows<1, Centred>(m.from(r, 1), coefficient + r * step, step, centre + (Centred ? r : 0), out);
}

// Lane r of the result is the total of s[r].
template <int L, class V, int... I> SAAM_INLINE V totals(V* s, std::integer_sequence<int, I...>) {
  for (int n = L / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i)
      s[i] = __builtin_shufflevector(s[2 * i], s[2 * i + 1], (2 * I)...) +
             __builtin_shufflevector(s[2 * i], s[2 * i + 1], (2 * I + 1)...);
  return s[0];
}

// sum[r] = sum over columns k of (m[r][k] - centre[k]) * v[k], in lanes
template <int R, bool Centred, class T, class A>
SAAM_INLINE void some_dots(const Matrix<T>& m, const A* v, const A* centre, Vec<A, kLanes<A>>* sum) {
  constexpr int L = kLanes<A>;
  using V = Vec<A, L>;
  for (int r = 0; r < R; ++r) sum[r] = V{};
  int64_t k = 0;
  for (; k + 2 * L <= m.columns; k += 2 * L)
    for (int i = 0; i < 2; ++i) {
      const V factor = load<L>(v + k + i * L), middle = Centred ? load<L>(centre + k + i * L) : V{};
      for (int r = 0; r < R; ++r) {
        const V x = load<L>(m.data + r * m.stride + k + i * L);
        sum[r] += factor * (Centred ? x - middle : x);
      }
    }
  for (; k < m.columns; k += L) {
    const int64_t n = std::min<int64_t>(L, m.columns - k);
    const V factor = load_some<L>(v + k, n, n), middle = Centred ? load_some<L>(centre + k, n, n) : V{};
    for (int64_t r = 0, at = k; r < R; ++r, at += m.stride) {
      const V x = load_some<L>(m.data + at, n, m.room - at);
      sum[r] += factor * (Centred ? x - middle : x);
    }
  }
}

// out[r] += sum over columns k of (m[r][k] - centre[k]) * v[k]
template <bool Centred = false, class T, class A>
void add_dots(const Matrix<T>& m, const A* v, A* out, const A* centre = nullptr) {
  constexpr int L = kLanes<A>;
  Vec<A, L> sum[L];
  int64_t r = 0;
  for (; r + L <= m.rows; r += L) {
    some_dots<L, Centred>(m.from(r, L), v, centre, sum);
    store<L>(out + r, load<L>(out + r) + totals<L>(sum, std::make_integer_sequence<int, L>{}));
  }
  for (; r < m.rows; ++r) {
    some_dots<1, Centred>(m.from(r, 1), v, centre, sum);
    out[r] += total<L>(sum[0]);
  }
}

template <class T> struct Tile {
  const Task<T>& task;
  int64_t image, pixel, pixels;

  int64_t start() const {
    return image * task.channels * task.pixels + pixel * (task.interleaved ? task.channels : 1);
  }
  // The channels [first, first + count) of this tile in one of the task's maps.
  Matrix<T> of(const T* map, int64_t first, int64_t count) const {
    const int64_t at = start() + first * (task.interleaved ? 1 : task.pixels);
    const int64_t room = task.batch * task.channels * task.pixels - at;
    return task.interleaved ? Matrix<T>{map + at, pixels, count, task.channels, room}
                            : Matrix<T>{map + at, count, pixels, task.pixels, room};
  }
};

// out[pixel] += sum over the channels of vector[channel] * (x - centre[channel])
template <class A> struct Projection {
  const A *vector, *centre;  // no centre if null
  A* out;
};

// Takes all projections of a part of x while it is in the cache. Long sums over the rows of a planar tile are taken in two
// levels for accuracy; `block` has room for one row of it.
template <class T, class A>
void project(const Tile<T>& tile, int64_t first, int64_t channels, const std::vector<Projection<A>>& projections,
             std::vector<A>& block) {
  constexpr int64_t kRows = 64;
  const Matrix<T> m = tile.of(tile.task.x, first, channels);
  for (int64_t r = 0; r < m.rows; r += kRows) {
    const Matrix<T> part = m.from(r, kRows);
    for (const Projection<A>& p : projections) {
      if (tile.task.interleaved) {
        if (p.centre) add_dots<true>(part, p.vector, p.out + r, p.centre);
        else add_dots(part, p.vector, p.out + r);
        continue;
      }
      std::fill_n(block.begin(), m.columns, A(0));
      if (p.centre) add_rows<true>(part, p.vector + r, 1, block.data(), p.centre + r);
      else add_rows(part, p.vector + r, 1, block.data());
      for (int64_t k = 0; k < m.columns; ++k) p.out[k] += block[k];
    }
  }
}

// out[channel] += sum over the pixels of weights[pixel] * x
template <class T, class A>
void pool(const Tile<T>& tile, int64_t first, int64_t channels, const A* weights, A* out) {
  const Matrix<T> m = tile.of(tile.task.x, first, channels);
  if (tile.task.interleaved) add_rows(m, weights, 1, out);
  else add_dots(m, weights, out);
}

template <class T> int64_t tile_pixels(const Task<T>& t) {
  constexpr int64_t kBytes = 2 * 1024 * 1024, kStep = 16;
  const int64_t most = t.interleaved ? 256 : 1024;  // sums within a tile are not in double
  const int64_t fit = std::max<int64_t>(kBytes / (t.channels * int64_t(sizeof(T))) / kStep, 1) * kStep;
  const int64_t parts = (t.pixels + std::min(fit, most) - 1) / std::min(fit, most);
  return std::min<int64_t>(((t.pixels + parts - 1) / parts + kStep - 1) / kStep * kStep, most);
}

// The tiles of the items, backwards or forwards: slice s of an image has the pixels from s * N / slices on.
template <class T, class F> void each_tile(const Task<T>& t, int64_t item, int64_t pixels, F&& work) {
  const int64_t slice = item % t.slices, end = t.pixels * (slice + 1) / t.slices;
  for (int64_t p = t.pixels * slice / t.slices; p < end; p += pixels)
    work(Tile<T>{t, item / t.slices, p, std::min(pixels, end - p)});
}

// The rows that the heads have in a tile, padded to whole vectors.
template <class A> struct HeadRows {
  int64_t stride;
  std::vector<A> values;

  HeadRows(int64_t heads, int64_t pixels) : stride(pixels), values(heads * pixels) {}
  A* operator[](int64_t g) { return values.data() + g * stride; }
  void clear() { std::fill(values.begin(), values.end(), A(0)); }
};

template <class T, class A> void read_scores(const Tile<T>& tile, HeadRows<A>& s) {
  const Task<T>& t = tile.task;
  for (int64_t g = 0; g < t.heads; ++g) {
    if (t.scores) {
      const A* given = t.scores + (tile.image * t.heads + g) * t.pixels + tile.pixel;
      for (int64_t p = 0; p < tile.pixels; ++p) s[g][p] = given[p] * t.scale;
    }
    std::fill(s[g] + tile.pixels, s[g] + s.stride, -std::numeric_limits<A>::infinity());
  }
}

// What gives the scores of all heads, if they come from a weight.
template <class T, class A> std::vector<Projection<A>> scorers(const Task<T>& t, HeadRows<A>& s) {
  std::vector<Projection<A>> projections;
  for (int64_t g = 0; t.weight && g < t.heads; ++g)
    projections.push_back({t.weight + g * t.channels, nullptr, s[g]});
  return projections;
}

template <class T> void score(const Task<T>& t, int64_t, int64_t begin, int64_t end) {
  using A = Sum<T>;
  constexpr int L = kLanes<A>;
  using V = Vec<A, L>;
  const int64_t group = t.channels / t.heads, pixels = tile_pixels(t);
  HeadRows<A> e(t.heads, pixels);
  std::vector<A> context(t.channels + L), block(pixels);
  const auto projections = scorers(t, e);
  for (int64_t item = begin; item < end; ++item) {
    double* best = t.partial + item * (2 * t.heads + t.channels);
    double *sum = best + t.heads, *z = sum + t.heads;
    std::fill_n(best, t.heads, -std::numeric_limits<double>::infinity());
    std::fill_n(sum, t.heads + t.channels, 0.0);
    each_tile(t, item, pixels, [&](const Tile<T>& tile) {
      e.clear();
      project(tile, 0, t.channels, projections, block);
      read_scores(tile, e);
      std::fill(context.begin(), context.end(), A(0));
      for (int64_t g = 0; g < t.heads; ++g) {
        V top = splat<V>(A(best[g])), whole{};
        for (int64_t p = 0; p < pixels; p += L) top = larger(top, load<L>(e[g] + p));
        const A highest = across<L>(top, [](auto a, auto b) { return larger(a, b); }), base = base_of(highest);
        for (int64_t p = 0; p < pixels; p += L) {
          const V value = exponential_of(load<L>(e[g] + p) - base);
          whole += value;
          store<L>(e[g] + p, value);
        }
        pool(tile, g * group, group, e[g], context.data() + g * group);
        const double decay = std::exp(best[g] - double(base));
        best[g] = highest;
        sum[g] = sum[g] * decay + double(total<L>(whole));
        for (int64_t c = g * group; c < (g + 1) * group; ++c) z[c] = z[c] * decay + double(context[c]);
      }
    });
  }
}

// out[k] = factor * dy[k] + u * v[k] + s * w[k]; the factor is one number or, if ByColumn, one for each k.
template <bool Joint, bool ByColumn, class T, class A>
SAAM_INLINE void write_row(T* out, const T* dy, const A* factor, A u, const A* v, A s, const A* w, int64_t n) {
  constexpr int L = kLanes<A>;
  int64_t k = 0;
  for (; k + L <= n; k += L) {
    Vec<A, L> y = load<L>(v + k) * u + load<L>(w + k) * s;
    if constexpr (Joint && ByColumn) y += load<L>(dy + k) * load<L>(factor + k);
    if constexpr (Joint && !ByColumn) y += load<L>(dy + k) * *factor;
    store<L>(out + k, y);
  }
  for (; k < n; ++k) {
    A y = v[k] * u + w[k] * s;
    if constexpr (Joint) y += one(dy + k) * factor[ByColumn ? k : 0];
    store<1>(out + k, Vec<A, 1>{y});
  }
}

// dx = factor * dy + p dz + sum over the heads of weight ds
template <bool Joint, class T, class A>
void write_dx(const Tile<T>& tile, HeadRows<A>& p, HeadRows<A>& ds, std::vector<A>& row) {
  const Task<T>& t = tile.task;
  const int64_t group = t.channels / t.heads, image = tile.image * t.channels;
  const A* dz = t.dz + image;
  const A* factor = t.factor + image;
  const bool several = t.heads > 1 && t.weight;  // then the sum over the heads is taken in `row` first
  const A nothing = 0;
  if (t.interleaved) {
    for (int64_t i = 0; i < tile.pixels; ++i) {
      const int64_t at = tile.start() + i * t.channels;
      if (several) {
        std::fill(row.begin(), row.end(), A(0));
        add_rows(Matrix<A>{t.weight, t.heads, t.channels, t.channels, t.heads * t.channels}, ds[0] + i, ds.stride, row.data());
      }
      const A s = several ? A(1) : t.weight ? ds[0][i] : nothing;
      const A* w = several ? row.data() : t.weight ? t.weight : dz;
      for (int64_t g = 0; g < t.heads; ++g) {
        const int64_t c = g * group;
        write_row<Joint, true>(t.out + at + c, t.dy + at + c, factor + c, p[g][i], dz + c, s, w + c, group);
      }
    }
    return;
  }
  for (int64_t c = 0; c < t.channels; ++c) {
    const int64_t at = tile.start() + c * t.pixels;
    const A* v = p[c / group];
    if (several) {
      std::fill(row.begin(), row.end(), A(0));
      add_rows(Matrix<A>{ds[0], t.heads, tile.pixels, ds.stride, t.heads * ds.stride}, t.weight + c, t.channels, row.data());
    }
    const A s = several ? A(1) : t.weight ? t.weight[c] : nothing;
    const A* w = several ? row.data() : t.weight ? ds[0] : v;
    write_row<Joint, false>(t.out + at, t.dy + at, factor + c, dz[c], v, s, w, tile.pixels);
  }
}

// With p the softmax: ds = p * (sum over the head's channels of dz (x - z)); dweight = sum of ds x. That a score has no
// part in its own average is in x - z: a pixel of weight one has exactly no gradient.
template <class T> void score_backward(const Task<T>& t, int64_t worker, int64_t begin, int64_t end) {
  using A = Sum<T>;
  constexpr int L = kLanes<A>;
  const int64_t group = t.channels / t.heads, pixels = tile_pixels(t);
  HeadRows<A> p(t.heads, pixels), ds(t.heads, pixels);
  const int64_t count = t.weight ? t.heads * t.channels : 0;
  std::vector<A> row(std::max(pixels, t.channels + L)), block(pixels), dweight(count + L);
  const auto scoring = scorers(t, p);
  for (int64_t item = end - 1; item >= begin; --item) {
    const int64_t image = item / t.slices;
    const A *dz = t.dz + image * t.channels, *z = t.z + image * t.channels;
    each_tile(t, item, pixels, [&](const Tile<T>& tile) {
      p.clear();
      ds.clear();
      auto all = scoring;
      if (t.heads == 1) all.push_back({dz, z, ds[0]});  // takes all channels too: in one go
      project(tile, 0, t.channels, all, block);
      read_scores(tile, p);
      for (int64_t g = 0; g < t.heads; ++g) {
        if (t.heads > 1) project(tile, g * group, group, {{dz + g * group, z + g * group, ds[g]}}, block);
        const A best = t.best[image * t.heads + g], inverse = t.inverse[image * t.heads + g];
        for (int64_t k = 0; k < pixels; k += L) {
          const Vec<A, L> weight = exponential_of(load<L>(p[g] + k) - best) * inverse;
          store<L>(p[g] + k, weight);
          store<L>(ds[g] + k, weight * load<L>(ds[g] + k));
        }
        if (t.dscores) {
          A* to = t.dscores + (image * t.heads + g) * t.pixels + tile.pixel;
          for (int64_t k = 0; k < tile.pixels; ++k) to[k] = ds[g][k] * t.scale;
        }
      }
      if (t.weight) {
        std::fill(dweight.begin(), dweight.end(), A(0));
        for (int64_t g = 0; g < t.heads; ++g) pool(tile, 0, t.channels, ds[g], dweight.data() + g * t.channels);
        double* whole = t.dweight + worker * count;
        for (int64_t i = 0; i < count; ++i) whole[i] += double(dweight[i]);
      }
      if (t.out) (t.dy ? write_dx<true, T, A> : write_dx<false, T, A>)(tile, p, ds, row);
    });
  }
}

}  // namespace

template <class T> const Kernels<T>& kernels() {
  static const Kernels<T> table{meet<Scale, T>,      meet<Shift, T>,      add_up<Total, T>, add_up<Product, T>,
                                moments<T>,          moments_backward<T>, channel<T>,       channel_backward<T>,
                                score<T>,            score_backward<T>};
  return table;
}

template const Kernels<float>& kernels();
template const Kernels<double>& kernels();
template const Kernels<BFloat16>& kernels();
template const Kernels<Half>& kernels();

}  // namespace SAAM_VARIANT
}  // namespace saam
