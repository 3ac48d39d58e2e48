// The two products of a matrix in memory with a vector: sums of its rows, and dot products with them.
//
// Both take x - centre in place of x if they are told to (Centred); there is one centre for each row in the one, for
// each column in the other.
#pragma once

#include <algorithm>

#include "vector.h"

namespace saam::SAAM_VARIANT {
namespace {

template <class T> struct Matrix {
  const T* data;
  int64_t rows, columns, stride, room;  // room: elements that may be read from data on

  Matrix from(int64_t row, int64_t count) const {
    return {data + row * stride, std::min(count, rows - row), columns, stride, room - row * stride};
  }
};

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

}  // namespace
}  // namespace saam::SAAM_VARIANT
