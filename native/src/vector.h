// Vectors of the compiler (GCC and Clang), one width per variant, and what the kernels do with them.
//
// A vector of L lanes is Vec<A, L>. What remains of a row after its whole vectors is treated as one more vector, of
// which only the first n lanes count.
#pragma once

#include <cstring>
#include <limits>
#include <utility>

#include "kernels.h"

namespace saam::SAAM_VARIANT {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

#define SAAM_INLINE inline __attribute__((always_inline))

template <class A> constexpr int kLanes = kVectorBytes / sizeof(A);

template <class A, int L> struct Vector { typedef A type __attribute__((vector_size(L * sizeof(A)))); };
template <class A, int L> using Vec = typename Vector<A, L>::type;
template <class A> using Bits = std::conditional_t<sizeof(A) == 4, int32_t, int64_t>;
template <int L> using Words = Vec<uint32_t, L>;

template <class To, class From> SAAM_INLINE To bits_of(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

template <class V, class A> SAAM_INLINE V splat(A value) { return V{} + value; }

// bfloat16 is the upper half of a float, rounded to nearest even.
template <int L> SAAM_INLINE Vec<float, L> widen(Words<L> bits, BFloat16) { return bits_of<Vec<float, L>>(bits << 16); }

template <int L> SAAM_INLINE Words<L> narrow(Vec<float, L> v, BFloat16) {
  const auto bits = bits_of<Words<L>>(v);
  return v != v ? splat<Words<L>>(0x7fc0u) : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

// float16 by the arithmetic of Marat Dukhan's FP16 library, which needs no hardware conversion.
template <int L> SAAM_INLINE Vec<float, L> widen(Words<L> bits, Half) {
  using F = Vec<float, L>;
  const Words<L> sign = (bits << 16) & 0x80000000u, twice = bits << 17;
  const F normal = bits_of<F>((twice >> 4) + 0x70000000u) * 0x1.0p-112f;
  const F subnormal = bits_of<F>((twice >> 17) | 0x3f000000u) - 0.5f;
  return bits_of<F>(sign | (twice < 0x08000000u ? bits_of<Words<L>>(subnormal) : bits_of<Words<L>>(normal)));
}

template <int L> SAAM_INLINE Words<L> narrow(Vec<float, L> v, Half) {
  using F = Vec<float, L>;
  const auto bits = bits_of<Words<L>>(v);
  const Words<L> twice = bits + bits;
  const F scaled = bits_of<F>(bits & 0x7fffffffu) * 0x1.0p+112f * 0x1.0p-110f;
  Words<L> bias = twice & 0xff000000u;
  bias = bias < 0x71000000u ? splat<Words<L>>(0x71000000u) : bias;
  const auto rounded = bits_of<Words<L>>(bits_of<F>((bias >> 1) + 0x07800000u) + scaled);
  const Words<L> magnitude = ((rounded >> 13) & 0x7c00u) + (rounded & 0x0fffu);
  return ((bits >> 16) & 0x8000u) | (twice > 0xff000000u ? splat<Words<L>>(0x7e00u) : magnitude);
}

template <int L, class T> SAAM_INLINE Vec<Sum<T>, L> load(const T* from) {
  if constexpr (sizeof(T) == 2) {
    Vec<uint16_t, L> bits;
    std::memcpy(&bits, from, sizeof(bits));
    return widen<L>(__builtin_convertvector(bits, Words<L>), T{});
  } else {
    Vec<T, L> v;
    std::memcpy(&v, from, sizeof(v));
    return v;
  }
}

template <int L, class T> SAAM_INLINE void store(T* to, Vec<Sum<T>, L> v) {
  if constexpr (sizeof(T) == 2) {
    const auto bits = __builtin_convertvector(narrow<L>(v, T{}), Vec<uint16_t, L>);
    std::memcpy(to, &bits, sizeof(bits));
  } else {
    std::memcpy(to, &v, sizeof(v));
  }
}

template <class T> SAAM_INLINE Sum<T> one(const T* from) { return load<1>(from)[0]; }

// The lanes of v from n on replaced by those of other.
template <class A, int L, int... I>
SAAM_INLINE Vec<A, L> first_of(Vec<A, L> v, Vec<A, L> other, int64_t n, std::integer_sequence<int, I...>) {
  return Vec<Bits<A>, L>{I...} < Bits<A>(n) ? v : other;
}

// The first n lanes, the others zero. Reads a whole vector where the tensor goes on (`room` elements from here).
template <int L, class T> SAAM_INLINE Vec<Sum<T>, L> load_some(const T* from, int64_t n, int64_t room) {
  if (room >= L) return first_of<Sum<T>, L>(load<L>(from), Vec<Sum<T>, L>{}, n, std::make_integer_sequence<int, L>{});
  T lanes[L] = {};
  std::memcpy(lanes, from, n * sizeof(T));
  return load<L>(lanes);
}

template <int L, class T> SAAM_INLINE void store_some(T* to, Vec<Sum<T>, L> v, int64_t n) {
  T lanes[L];
  store<L>(lanes, v);
  std::memcpy(to, lanes, n * sizeof(T));
}

// Maximum as torch.amax takes it: a NaN on either side wins.
template <class V> SAAM_INLINE V larger(V a, V b) { return (b > a) | (b != b) ? b : a; }
template <> SAAM_INLINE float larger(float a, float b) { return b > a || b != b ? b : a; }
template <> SAAM_INLINE double larger(double a, double b) { return b > a || b != b ? b : a; }

template <class A, int L, int... I>
SAAM_INLINE Vec<A, (L > 1 ? L / 2 : 1)> half(Vec<A, L> v, int offset, std::integer_sequence<int, I...>) {
  return offset ? __builtin_shufflevector(v, v, (L / 2 + I)...) : __builtin_shufflevector(v, v, I...);
}

// All lanes joined to one number, by a tree.
template <int L, class V, class Join> SAAM_INLINE auto across(V v, Join join) {
  using A = std::remove_reference_t<decltype(v[0])>;
  if constexpr (L == 1) {
    return A(v[0]);
  } else {
    constexpr std::make_integer_sequence<int, L / 2> lanes{};
    return across<L / 2>(join(half<A, L>(v, 0, lanes), half<A, L>(v, 1, lanes)), join);
  }
}

template <int L, class V> SAAM_INLINE auto total(V v) {
  return across<L>(v, [](auto a, auto b) { return a + b; });
}

// exp to one unit in the last place or so; 0 for -infinity, NaN for NaN. x = n ln 2 + r, and a Taylor series in r.
template <class V> SAAM_INLINE V exponential(V x) {
  using A = std::remove_reference_t<decltype(x[0])>;
  using I = Vec<Bits<A>, sizeof(V) / sizeof(A)>;
  constexpr bool single = sizeof(A) == 4;
  constexpr A lowest = single ? -104 : -746, highest = single ? 89 : 710;
  constexpr A magic = single ? 12582912.0 : 6755399441055744.0;  // 1.5 * 2^mantissa: adding it rounds to an integer
  constexpr A high = single ? 0.693359375 : 0.693147180369123816490;
  constexpr A low = single ? -2.12194440e-4 : 1.90821492927058770002e-10;
  constexpr int terms = single ? 7 : 13, mantissa = single ? 23 : 52, bias = single ? 127 : 1023;
  x = x < lowest ? splat<V>(lowest) : x;
  x = x > highest ? splat<V>(highest) : x;
  const V shifted = x * A(1.44269504088896340736) + magic, n = shifted - magic;
  const V r = (x - n * high) - n * low;
  A factorial = 1;
  for (int k = 2; k <= terms; ++k) factorial *= k;
  V series = splat<V>(1 / factorial);
  for (int k = terms; k > 0; --k) series = series * r + 1 / (factorial /= k);
  // 2^n as the product of two powers, so that results below the normal range come out right.
  const I whole = bits_of<I>(shifted) - bits_of<I>(splat<V>(magic)), first = whole >> 1, second = whole - first;
  return series * bits_of<V>((first + bias) << mantissa) * bits_of<V>((second + bias) << mantissa);
}

// -infinity as the highest score so far means that nothing has weight yet: exp(s - 0) is then 0, and not NaN.
template <class A> A base_of(A best) { return best == -std::numeric_limits<A>::infinity() ? A(0) : best; }

}  // namespace saam::SAAM_VARIANT
