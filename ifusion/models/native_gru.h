// A GRU layer over a sequence, forwards and backwards, for one width of vectors.
//
// native_gru.cc includes this file once for each instruction set, with
//   NAMESPACE  its name, WIDTH  floats in a vector, ROWS  rows of a tile.
// The cell and its gradient are those of ifusion/models/gru.py. One call does the whole
// sequence of a lane in one thread, a block of steps at a time, so that the gates of the
// block stay in the second cache:
//   forwards   x = features W_i^T + b_i of the block, then step by step
//              [h_r, h_z, q] = h W_h + [0, 0, b_n], and the gates
//   backwards  the gradients of a block's gates, step by step in reverse; then they are
//              multiplied into those of W_i, W_h and the features.
// Every sum is taken in an order that follows from the shapes alone. Rows and steps at
// the end of a minibatch that are padding are not computed.

namespace NAMESPACE {

typedef float Vector __attribute__((vector_size(4 * WIDTH)));
typedef float Unaligned __attribute__((vector_size(4 * WIDTH), aligned(4)));
typedef int32_t Integers __attribute__((vector_size(4 * WIDTH)));

constexpr int kColumns = 3;                 // vectors in a row of a tile
constexpr Index kPanel = kColumns * WIDTH;  // floats in it
constexpr Index kDepth = 256;               // of a packed block: a panel fits the L1
constexpr Index kBlockRows = 256;           // of features whose gates fit the L2
constexpr Index kWide = 8 * kPanel;         // columns that are packed at once

INLINE Index padded(Index n) { return (n + WIDTH - 1) / WIDTH * WIDTH; }
INLINE Vector load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
INLINE void store(float* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }
INLINE Vector all(float x) { return x - Vector{}; }

// The first `count` floats, zeros behind them.
INLINE Vector load_part(const float* p, Index count) {
  if (count >= WIDTH) return load(p);
#if WIDTH == 16
  return (Vector)_mm512_maskz_loadu_ps((1 << count) - 1, p);
#else
  Vector v = {};
  for (Index i = 0; i < count; ++i) v[i] = p[i];
  return v;
#endif
}

INLINE void store_part(float* p, Vector v, Index count) {
  if (count >= WIDTH) return store(p, v);
#if WIDTH == 16
  _mm512_mask_storeu_ps(p, (1 << count) - 1, (__m512)v);
#else
  for (Index i = 0; i < count; ++i) p[i] = v[i];
#endif
}

INLINE void add_to(float* p, Vector v, Index count) {
  store_part(p, load_part(p, count) + v, count);
}

// Where r of a row's units is among the cells of a step, of (H / 16, B, 4, 16) floats.
INLINE Index place(const Sizes& s, Index b, Index u) {
  return (u / kCell * s.batch + b) * 4 * kCell + u % kCell;
}

// ---- functions of vectors -----------------------------------------------------------

struct Power {
  Vector scale, rest;  // exp(x) = scale (1 + rest), scale a power of two
};

// x is within +-87; rest is the series of exp about 0, to its 7th term.
INLINE Power power(Vector x) {
  constexpr float kRound = 12582912.0f;  // 1.5 2^23: adding it rounds to an integer
  Vector shifted = x * 1.44269504f + kRound;
  Vector whole = shifted - kRound;
  Vector r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  Vector s = all(1.0f / 5040);
  s = s * r + 1.0f / 720;
  s = s * r + 1.0f / 120;
  s = s * r + 1.0f / 24;
  s = s * r + 1.0f / 6;
  s = s * r + 0.5f;
  s = s * r * r + r;
  Integers bits = reinterpret_cast<Integers>(shifted) - 0x4B400000;
  return {reinterpret_cast<Vector>((bits + 127) << 23), s};
}

INLINE Vector clamp(Vector x, float limit) {  // NaN stays NaN
  x = x > limit ? all(limit) : x;
  return x < -limit ? all(-limit) : x;
}

INLINE Vector sigmoid(Vector x) {
  Power e = power(clamp(-x, 87.0f));
  return 1.0f / (1.0f + (e.scale + e.scale * e.rest));
}

INLINE Vector tanh(Vector x) {  // near 0 as accurate as elsewhere
  Power e = power(clamp(2.0f * x, 40.0f));
  Vector less = (e.scale - 1.0f) + e.scale * e.rest;  // exp(2 x) - 1
  return less / (less + 2.0f);
}

// ---- products -----------------------------------------------------------------------

// C (M, N vectors) = start + A (M, depth) B; rows[i] + k step is A's element (i, k), B is
// packed: (depth, N vectors).
template <int M, int N>
void tile(Index depth, const float* const* rows, Index step, const float* b,
          const float* start, Index start_row, float* c, Index c_row) {
  Vector sum[M][N];
  const float* row[M];
  UNROLL for (int i = 0; i < M; ++i) {
    row[i] = rows[i];
    UNROLL for (int j = 0; j < N; ++j)
      sum[i][j] = load(start + i * start_row + j * WIDTH);
  }
  for (Index k = 0, at = 0; k < depth; ++k, at += step, b += N * WIDTH) {
    Vector of_b[N];
    UNROLL for (int j = 0; j < N; ++j)
      of_b[j] = *reinterpret_cast<const Vector*>(b + j * WIDTH);
    UNROLL for (int i = 0; i < M; ++i) {
      Vector of_a = all(row[i][at]);
      UNROLL for (int j = 0; j < N; ++j) sum[i][j] += of_a * of_b[j];
    }
  }
  UNROLL for (int i = 0; i < M; ++i)
    UNROLL for (int j = 0; j < N; ++j) store(c + i * c_row + j * WIDTH, sum[i][j]);
}

using Tile = void (*)(Index, const float* const*, Index, const float*, const float*, Index,
                      float*, Index);

template <int N, std::size_t... M>
constexpr std::array<Tile, ROWS> tiles_of(std::index_sequence<M...>) {
  return {tile<M + 1, N>...};
}
using Heights = std::make_index_sequence<ROWS>;
constexpr std::array<Tile, ROWS> kTiles[kColumns] = {
    tiles_of<1>(Heights{}), tiles_of<2>(Heights{}), tiles_of<3>(Heights{})};

// Interleaves the first halves of two vectors (Half 0), or the second (Half 1).
template <int Half, std::size_t... I>
INLINE Vector interleave(Vector a, Vector b, std::index_sequence<I...>) {
  return __builtin_shufflevector(
      a, b, (Half * WIDTH / 2 + I / 2 + (I % 2 ? WIDTH : 0))...);
}

// Transposes a square of vectors.
INLINE void transpose(const float* from, Index row, float* to, Index to_row) {
  constexpr std::make_index_sequence<WIDTH> kAll{};
  Vector now[WIDTH], next[WIDTH];
  for (int i = 0; i < WIDTH; ++i) now[i] = load(from + i * row);
  for (int done = 1; done < WIDTH; done *= 2) {
    for (int i = 0; i < WIDTH / 2; ++i) {
      next[2 * i] = interleave<0>(now[i], now[i + WIDTH / 2], kAll);
      next[2 * i + 1] = interleave<1>(now[i], now[i + WIDTH / 2], kAll);
    }
    for (int i = 0; i < WIDTH; ++i) now[i] = next[i];
  }
  for (int i = 0; i < WIDTH; ++i) store(to + i * to_row, now[i]);
}

constexpr Index kAhead = 4;  // rows that are fetched before they are packed

INLINE void prefetch(const float* from, Index count) {
  for (Index i = 0; i < count; i += 16) PREFETCH(from + i);
}

// Packs rows of B, `columns` floats of each, into panels (depth, up to 3 vectors),
// zeros beyond the last column.
template <class Row>
void pack(Index depth, Index columns, Row row, float* packed) {
  for (Index k = 0; k < depth; ++k) {  // each row once, since it may come from afar
    const float* from = row(k);
    if (k + kAhead < depth) prefetch(row(k + kAhead), columns);
    for (Index left = 0; left < columns; left += kPanel) {
      Index count = std::min(kPanel, columns - left), width = padded(count);
      float* to = packed + left * depth + k * width;
      for (Index j = 0; j < count; j += WIDTH)
        *reinterpret_cast<Vector*>(to + j) = load_part(from + left + j, count - j);
    }
  }
}

// Packs B from its transpose, `columns` rows of `depth` floats.
void pack_transposed(Index depth, Index columns, const float* from, Index from_row,
                     float* packed) {
  for (Index left = 0; left < columns; left += kPanel) {
    Index count = std::min(kPanel, columns - left), width = padded(count);
    for (Index j = 0; j < width; j += WIDTH) {
      const float* rows = from + (left + j) * from_row;
      Index there = std::min<Index>(WIDTH, count - j), k = 0;
      for (Index i = 0; i < std::min<Index>(WIDTH, columns - left - j - WIDTH); ++i)
        prefetch(rows + (WIDTH + i) * from_row, depth);
      if (there == WIDTH)
        for (; k + WIDTH <= depth; k += WIDTH)
          transpose(rows + k, from_row, packed + k * width + j, width);
      for (; k < depth; ++k)
        for (Index i = 0; i < WIDTH; ++i)
          packed[k * width + j + i] = i < there ? rows[i * from_row + k] : 0.0f;
    }
    packed += depth * width;
  }
}

// C (rows, columns) = start + A B, with B packed, for a depth of at most kDepth.
// `row(i)` points at A's row i. C has room for whole vectors, or `exact` says that it
// ends with its last column.
template <class Row>
void multiply(Index rows, Index columns, Index depth, Row row, Index step,
              const float* packed, const float* start, Index start_row, float* c,
              Index c_row, bool exact) {
  for (Index left = 0; left < columns; left += kPanel) {
    Index count = std::min(kPanel, columns - left), width = padded(count);
    const auto& tiles = kTiles[width / WIDTH - 1];
    Index blocks = (rows + ROWS - 1) / ROWS;
    for (Index block = 0; block < blocks; ++block) {  // of nearly equal heights
      Index top = rows * block / blocks, height = rows * (block + 1) / blocks - top;
      const float* pointers[ROWS];
      for (Index i = 0; i < height; ++i) pointers[i] = row(top + i);
      const float* begin = start + top * start_row + left;
      float* to = c + top * c_row + left;
      if (exact && width > count) {
        alignas(64) float held[ROWS * kPanel];
        for (Index i = 0; i < height; ++i)
          for (Index j = 0; j < width; ++j)
            held[i * kPanel + j] = j < count ? begin[i * start_row + j] : 0.0f;
        tiles[height - 1](depth, pointers, step, packed, held, kPanel, held, kPanel);
        for (Index i = 0; i < height; ++i)
          for (Index j = 0; j < count; ++j) to[i * c_row + j] = held[i * kPanel + j];
      } else {
        tiles[height - 1](depth, pointers, step, packed, begin, start_row, to, c_row);
      }
    }
    packed += depth * width;
  }
}

// ---- the layer ----------------------------------------------------------------------

INLINE Index block_steps(const Sizes& s) {
  return std::max<Index>(1, std::min(s.steps, kBlockRows / s.batch));
}

void forward(const Sizes& s, const Layer& x, const Saved& out, Scratch& scratch) {
  const Index hidden = s.hidden, gates = 3 * hidden, wide = padded(gates);
  const Index room = padded_cell(hidden);
  const Extent used = extent_of(s, x.mask);
  const Index steps = block_steps(s), rows = steps * used.batch;
  const bool once = steps >= used.steps;  // W_i is packed block by block
  float* of_input = scratch.take((once ? std::min(kDepth, s.features) : s.features) * wide);
  float* of_hidden = x.kernel ? scratch.take(hidden * wide) : nullptr;
  float* gated = scratch.take(rows * wide + WIDTH);
  float* products = scratch.take(used.batch * wide + WIDTH);
  float* input_bias = scratch.take(wide);
  float* hidden_bias = scratch.take(wide);
  std::memset(input_bias, 0, wide * sizeof(float));
  std::memset(hidden_bias, 0, wide * sizeof(float));
  std::memcpy(input_bias, x.input_bias, gates * sizeof(float));
  std::memcpy(hidden_bias + 2 * hidden, x.bias, hidden * sizeof(float));
  auto pack_input = [&](Index from) {
    Index depth = std::min(kDepth, s.features - from);
    float* to = once ? of_input : of_input + from * wide;
    pack_transposed(depth, gates, x.weight + from, s.features, to);
  };
  if (!once)
    for (Index from = 0; from < s.features; from += kDepth) pack_input(from);
  if (x.kernel)
    for (Index from = 0; from < hidden; from += kDepth)
      pack(std::min(kDepth, hidden - from), gates,
           [&](Index k) { return x.kernel + (from + k) * gates; },
           of_hidden + from * wide);
  for (Index first = 0; first < used.steps; first += steps) {
    Index count = std::min(steps, used.steps - first) * used.batch;
    for (Index from = 0; from < s.features; from += kDepth) {
      if (once) pack_input(from);
      multiply(
          count, gates, std::min(kDepth, s.features - from),
          [&](Index i) {
            Index t = first + i / used.batch, b = i % used.batch;
            return x.inputs + (b * s.steps + t) * s.features + from;
          },
          1, once ? of_input : of_input + from * wide, from ? gated : input_bias,
          from ? wide : 0, gated, wide, false);
    }
    for (Index t = first; t < std::min(first + steps, used.steps); ++t) {
      const float* before = t ? out.hidden + (t - 1) * hidden : x.initial;
      const Index before_row = t ? s.steps * hidden : hidden;
      if (x.kernel)
        for (Index from = 0; from < hidden; from += kDepth)
          multiply(
              used.batch, gates, std::min(kDepth, hidden - from),
              [&](Index b) { return before + b * before_row + from; }, 1,
              of_hidden + from * wide, from ? products : hidden_bias, from ? wide : 0,
              products, wide, false);
      const float* of_step = gated + (t - first) * used.batch * wide;
      float* cell = out.cells ? out.cells + t * s.batch * 4 * room : nullptr;
      for (Index u = 0; u < hidden; u += WIDTH) {
        const Index left = hidden - u;
        for (Index b = 0; b < used.batch; ++b) {
          const float* own = of_step + b * wide + u;
          const float* product = (x.kernel ? products + b * wide : hidden_bias) + u;
          const bool held = !(x.mask[b * s.steps + t] > 0);
          Vector h = load_part(before + b * before_row + u, left);
          Vector r = sigmoid(load(own) + load(product));
          Vector z = sigmoid(load(own + hidden) + load(product + hidden));
          Vector q = load_part(product + 2 * hidden, left);
          Vector n = tanh(load_part(own + 2 * hidden, left) + r * q);
          Vector next = n + z * (h - n);
          store_part(out.hidden + (b * s.steps + t) * hidden + u, held ? h : next, left);
          if (cell) {
            float* to = cell + place(s, b, u);
            store(to, r);
            store(to + kCell, held ? all(1.0f) : z);
            store(to + 2 * kCell, n);
            store(to + 3 * kCell, q);
          }
        }
      }
    }
  }
  for (Index b = 0; b < s.batch; ++b)
    for (Index t = used.of(b); t < s.steps; ++t)
      std::memcpy(out.hidden + (b * s.steps + t) * hidden,
                  t ? out.hidden + (b * s.steps + t - 1) * hidden : x.initial + b * hidden,
                  hidden * sizeof(float));
}

// W (rows, columns) += A^T B over `depth` rows of A and B, zeros before `first`;
// `column(i)` points at A's column i.
template <class Column, class Row>
void add_gradient(Index rows, Index columns, Index depth, Column column, Index a_row,
                  Row b, float* w, bool first, const float* zeros, float* packed) {
  for (Index left = 0; left < columns; left += kWide) {
    Index count = std::min(kWide, columns - left);
    for (Index from = 0; from < depth; from += kDepth) {
      Index deep = std::min(kDepth, depth - from);
      pack(deep, count, [&](Index k) { return b(from + k) + left; }, packed);
      bool blank = first && !from;
      multiply(
          rows, count, deep, [&](Index i) { return column(i) + from * a_row; }, a_row,
          packed, blank ? zeros : w + left, blank ? 0 : columns, w + left, columns, true);
    }
  }
}

void backward(const Sizes& s, const Layer& x, const Saved& saved, const Gradients& out,
              Scratch& scratch) {
  const Index hidden = s.hidden, gates = 3 * hidden, row = padded(4 * hidden);
  const Extent used = extent_of(s, x.mask);
  const Index steps = block_steps(s), rows = steps * used.batch, high = padded(hidden);
  const Index wide = padded(s.features), room = padded_cell(hidden);
  float* of_hidden = x.kernel ? scratch.take(gates * high) : nullptr;
  float* of_input = out.inputs ? scratch.take(gates * wide) : nullptr;
  float* into = scratch.take(rows * row + WIDTH);  // n, r, z, q of each row
  float* later = scratch.take(s.batch * high);
  float* packed = scratch.take(kDepth * kWide);
  float* zeros = scratch.take(std::max(kWide, wide));
  float* befores = x.kernel ? scratch.take(rows * hidden + WIDTH) : nullptr;
  float* sums = scratch.take(row);
  std::memset(zeros, 0, std::max(kWide, wide) * sizeof(float));
  std::memset(sums, 0, row * sizeof(float));
  std::memset(later, 0, s.batch * high * sizeof(float));
  for (Index b = 0; b < s.batch; ++b)
    for (Index t = s.steps - 1; t >= used.of(b); --t)
      for (Index u = 0; u < hidden; ++u)
        later[b * high + u] += out.cotangent[(b * s.steps + t) * hidden + u];
  if (x.kernel)
    for (Index from = 0; from < gates; from += kDepth)
      pack_transposed(std::min(kDepth, gates - from), hidden, x.kernel + from, gates,
                      of_hidden + from * high);
  // the order of the gates in W_i is r, z, n
  const struct { Index from, count, at; } parts[] = {{0, 2 * hidden, hidden}, {2 * hidden, hidden, 0}};
  if (out.inputs)
    for (const auto& part : parts)
      for (Index from = 0; from < part.count; from += kDepth)
        pack(std::min(kDepth, part.count - from), s.features,
             [&](Index k) { return x.weight + (part.from + from + k) * s.features; },
             of_input + (part.from + from) * wide);
  const Index blocks = (used.steps + steps - 1) / steps;
  for (Index block = blocks - 1; block >= 0; --block) {
    const Index first = block * steps, last = std::min(first + steps, used.steps);
    const Index count = (last - first) * used.batch;
    auto hidden_before = [&](Index t, Index b) {
      return t ? saved.hidden + (b * s.steps + t - 1) * hidden : x.initial + b * hidden;
    };
    for (Index t = last - 1; t >= first; --t) {
      const float* cell = saved.cells + t * s.batch * 4 * room;
      const Index a_step = 4 * room * s.batch;
      for (Index u = 0; u < hidden; u += WIDTH) {
        const Index left = hidden - u;
        Vector sum_n = {}, sum_r = {}, sum_z = {}, sum_q = {};
        for (Index b = 0; b < used.batch; ++b) {
          const float* from = cell + place(s, b, u);
          float* own = into + ((t - first) * used.batch + b) * row + u;
          float* rest = later + b * high + u;
          Vector total =
              load(rest) + load_part(out.cotangent + (b * s.steps + t) * hidden + u, left);
          Vector r = load(from), z = load(from + kCell);
          Vector n = load(from + 2 * kCell), q = load(from + 3 * kCell);
          Vector h = load_part(hidden_before(t, b) + u, left);
          if (t) {
            for (Index line = 0; line < 4; ++line) PREFETCH(from - a_step + line * 16);
          }
          Vector into_n = total * (1.0f - z) * (1.0f - n * n);
          Vector into_z = total * (h - n) * z * (1.0f - z);
          Vector into_r = into_n * q * r * (1.0f - r);
          Vector into_q = into_n * r;
          store_part(own, into_n, left);
          store_part(own + hidden, into_r, left);
          store_part(own + 2 * hidden, into_z, left);
          store_part(own + 3 * hidden, into_q, left);
          store(rest, total * z);
          sum_n += into_n, sum_r += into_r, sum_z += into_z, sum_q += into_q;
        }
        add_to(sums + u, sum_n, left);
        add_to(sums + hidden + u, sum_r, left);
        add_to(sums + 2 * hidden + u, sum_z, left);
        add_to(sums + 3 * hidden + u, sum_q, left);
      }
      if (x.kernel)
        for (Index from = 0; from < gates; from += kDepth)
          multiply(
              used.batch, hidden, std::min(kDepth, gates - from),
              [&](Index b) {
                return into + ((t - first) * used.batch + b) * row + hidden + from;
              },
              1, of_hidden + from * high, later, high, later, high, false);
    }
    auto inputs = [&](Index i) {
      return x.inputs +
             ((i % used.batch) * s.steps + first + i / used.batch) * s.features;
    };
    const bool begin = block == blocks - 1;
    auto of_gate = [&](Index i) {
      return into + (i < 2 * hidden ? i + hidden : i - 2 * hidden);
    };
    add_gradient(gates, s.features, count, of_gate, row, inputs, out.weight, begin, zeros,
                 packed);
    if (x.kernel) {
      for (Index i = 0; i < count; ++i)
        std::memcpy(befores + i * hidden,
                    hidden_before(first + i / used.batch, i % used.batch),
                    hidden * sizeof(float));
      add_gradient(
          hidden, gates, count, [&](Index i) { return befores + i; }, hidden,
          [&](Index i) { return into + i * row + hidden; }, out.kernel, begin, zeros,
          packed);
    }
    if (out.inputs)
      for (Index t = first; t < last; ++t)
        for (const auto& part : parts)
          for (Index from = 0; from < part.count; from += kDepth) {
            const bool blank = !part.from && !from;
            float* to = out.inputs + t * s.features;
            multiply(
                used.batch, s.features, std::min(kDepth, part.count - from),
                [&](Index b) {
                  return into + ((t - first) * used.batch + b) * row + part.at + from;
                },
                1, of_input + (part.from + from) * wide, blank ? zeros : to,
                blank ? 0 : s.steps * s.features, to, s.steps * s.features, true);
          }
  }
  if (out.inputs)
    for (Index b = 0; b < s.batch; ++b)
      std::memset(out.inputs + (b * s.steps + used.of(b)) * s.features, 0,
                  (s.steps - used.of(b)) * s.features * sizeof(float));
  std::memcpy(out.input_bias, sums + hidden, 2 * hidden * sizeof(float));
  std::memcpy(out.input_bias + 2 * hidden, sums, hidden * sizeof(float));
  std::memcpy(out.bias, sums + 3 * hidden, hidden * sizeof(float));
  for (Index b = 0; b < s.batch; ++b)
    std::memcpy(out.initial + b * hidden, later + b * high, hidden * sizeof(float));
}

// ---- Adam ---------------------------------------------------------------------------

// The gradient with its penalty, or 0 if the parameters are not trained.
INLINE Vector penalised(Vector gradient, Vector value, const Adam& by) {
  return by.trained ? gradient + by.penalty * value : Vector{};
}

float sum_squares(Index count, const float* gradient, const float* value, const Adam& by) {
  Vector sums[4] = {};
  Index i = 0;
  for (; i + 4 * WIDTH <= count; i += 4 * WIDTH)
    for (Index j = 0; j < 4; ++j) {
      Index at = i + j * WIDTH;
      Vector g = penalised(load(gradient + at), load(value + at), by);
      sums[j] += g * g;
    }
  for (; i < count; i += WIDTH) {
    Vector g = load_part(gradient + i, count - i), v = load_part(value + i, count - i);
    g = penalised(g, v, by);
    sums[0] += g * g;
  }
  Vector all_four = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float sum = 0;
  for (Index j = 0; j < WIDTH; ++j) sum += all_four[j];
  return sum;
}

INLINE Vector root(Vector x) {
#if WIDTH == 16
  return (Vector)_mm512_sqrt_ps((__m512)x);
#elif WIDTH == 8
  return (Vector)_mm256_sqrt_ps((__m256)x);
#else
  for (Index j = 0; j < WIDTH; ++j) x[j] = std::sqrt(x[j]);
  return x;
#endif
}

void adam(Index count, const float* gradient, float* value, float* mean, float* square,
          const Adam& by) {
  for (Index i = 0; i < count; i += WIDTH) {
    const Index left = count - i;
    Vector v = load_part(value + i, left);
    Vector g = penalised(load_part(gradient + i, left), v, by);
    Vector m = by.keep_mean * load_part(mean + i, left) + (1.0f - by.keep_mean) * g;
    Vector s =
        by.keep_square * load_part(square + i, left) + (1.0f - by.keep_square) * (g * g);
    store_part(mean + i, m, left);
    store_part(square + i, s, left);
    store_part(value + i, v - by.rate * m / (root(s * by.correction) + by.epsilon), left);
  }
}

}  // namespace NAMESPACE
