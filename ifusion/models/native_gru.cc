// A GRU layer on a CPU as XLA calls it, for ifusion/models/native_gru.py.
//
// native_gru.h holds the layer; here are the instruction sets it is compiled for, and
// the loop over lanes: of an argument that all lanes share there is only one.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "xla/ffi/api/ffi.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define PREFETCH(address) __builtin_prefetch(address, 0, 2)
#define UNROLL _Pragma("GCC unroll 16")
#define INLINE static inline __attribute__((always_inline))

namespace {

namespace ffi = xla::ffi;
using Index = std::int64_t;
using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Array>;

// Arrays are batch first: features (B, T, F), gates and states (B, T, H), mask (B, T).
struct Sizes {
  Index batch, steps, features, hidden;
};

// Of one lane; kernel is null where there is no recurrence.
struct Layer {
  const float *inputs, *weight, *input_bias, *kernel, *bias, *mask, *initial;
};

// rate and correction already hold the corrections of the bias of mean and square.
struct Adam {
  float rate, correction, keep_mean, keep_square, epsilon, penalty, trained;
};

// States (B, T, H); and r, z, n and q in the order in which they are computed, 16 units
// at a time: (T, H / 16, B, 4, 16), or null.
struct Saved {
  float *hidden, *cells;
};

constexpr Index kCell = 16;
constexpr Index padded_cell(Index hidden) { return (hidden + kCell - 1) / kCell * kCell; }

// The part of a minibatch outside which no step exists, so that the state is held there.
struct Extent {
  Index batch, steps;  // at least 1
  Index of(Index row) const { return row < batch ? steps : 0; }
};

Extent extent_of(const Sizes& s, const float* mask) {
  Extent used = {1, 1};
  for (Index b = 0; b < s.batch; ++b)
    for (Index t = 0; t < s.steps; ++t)
      if (mask[b * s.steps + t] > 0) used = {b + 1, std::max(used.steps, t + 1)};
  return used;
}

struct Gradients {
  const float* cotangent;
  float *inputs, *weight, *input_bias, *kernel, *bias, *initial;  // inputs may be null
};

// Memory of a thread that calls share, so that its pages are mapped once.
class Scratch {
 public:
  float* take(Index count) {
    std::size_t bytes = (count * sizeof(float) + 63) / 64 * 64 + 64;
    if (used_ == blocks_.size()) blocks_.push_back({nullptr, 0});
    Block& block = blocks_[used_++];
    if (block.bytes < bytes) {
      std::free(block.data);
      block = {std::aligned_alloc(64, bytes), bytes};
      if (!block.data) throw std::bad_alloc();
    }
    return static_cast<float*>(block.data);
  }
  void reset() { used_ = 0; }
  ~Scratch() {
    for (Block& block : blocks_) std::free(block.data);
  }

 private:
  struct Block {
    void* data;
    std::size_t bytes;
  };
  std::vector<Block> blocks_;
  std::size_t used_ = 0;
};

}  // namespace

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define NAMESPACE avx2
#define WIDTH 8
#define ROWS 4
#include "native_gru.h"
#undef NAMESPACE
#undef WIDTH
#undef ROWS
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl")
#define NAMESPACE avx512
#define WIDTH 16
#define ROWS 8
#include "native_gru.h"
#undef NAMESPACE
#undef WIDTH
#undef ROWS
#pragma GCC pop_options
#endif
#define NAMESPACE plain
#define WIDTH 4
#define ROWS 4
#include "native_gru.h"
#undef NAMESPACE
#undef WIDTH
#undef ROWS


namespace {

struct Instructions {
  const char* name;
  bool there;
  decltype(&plain::forward) forward;
  decltype(&plain::backward) backward;
  decltype(&plain::sum_squares) sum_squares;
  decltype(&plain::adam) adam;
};

// The widest first.
const std::vector<Instructions>& all_instructions() {
  static const std::vector<Instructions> known = {
#ifdef WIDE
      {"avx512",
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"),
       avx512::forward, avx512::backward, avx512::sum_squares, avx512::adam},
      {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"),
       avx2::forward, avx2::backward, avx2::sum_squares, avx2::adam},
#endif
      {"plain", true, plain::forward, plain::backward, plain::sum_squares, plain::adam},
  };
  return known;
}

const Instructions* find_instructions(std::string_view name) {
  for (const Instructions& each : all_instructions())
    if (each.there && name == each.name) return &each;
  return nullptr;
}

// An argument of all lanes: axes of lanes, each of its size or of 1, then its own.
struct Lanes {
  ffi::Span<const std::int64_t> axes;  // of a result, which has all of them
  Index count = 1;

  Lanes(const Array& result, std::size_t own)
      : axes(result.dimensions().first(result.dimensions().size() - own)) {
    for (Index size : axes) count *= size;
  }

  float* of(const Array& array, Index lane) const {
    auto dimensions = array.dimensions();
    Index size = 1, at = 0, stride = 1;
    for (std::size_t i = axes.size(); i < dimensions.size(); ++i) size *= dimensions[i];
    for (std::size_t i = axes.size(); i-- > 0; lane /= axes[i]) {
      if (dimensions[i] > 1) at += stride * (lane % axes[i]);
      stride *= dimensions[i];
    }
    return size ? array.typed_data() + at * size : nullptr;
  }

  Index size(const Array& array) const {  // of one lane
    Index size = 1;
    auto dimensions = array.dimensions();
    for (std::size_t i = axes.size(); i < dimensions.size(); ++i) size *= dimensions[i];
    return size;
  }
};

thread_local Scratch scratch;

// Calls `each` with the functions of an instruction set and the number of each lane.
template <typename Each>
ffi::Error for_lanes(std::string_view name, const Lanes& lanes, Each each) {
  const Instructions* with = find_instructions(name);
  if (!with) return ffi::Error::Internal("no such instructions: " + std::string(name));
  for (Index i = 0; i < lanes.count; ++i) {
    scratch.reset();
    each(*with, i);
  }
  return ffi::Error::Success();
}

Sizes sizes_of(const Array& inputs, const Array& hidden) {
  auto of_inputs = inputs.dimensions(), of_hidden = hidden.dimensions();
  std::size_t last = of_inputs.size() - 1;
  return {of_inputs[last - 2], of_inputs[last - 1], of_inputs[last], of_hidden[last]};
}

ffi::Error forward(std::string_view name, Array inputs, Array weight, Array input_bias,
                   Array kernel, Array bias, Array mask, Array initial, Result hidden,
                   ffi::RemainingRets saved) {
  const Sizes sizes = sizes_of(inputs, *hidden);
  const Lanes lanes(*hidden, 3);
  return for_lanes(name, lanes, [&](const Instructions& with, Index lane) {
    auto of = [&](const Array& array) { return lanes.of(array, lane); };
    float* cells = saved.size() ? of(**saved.get<Array>(0)) : nullptr;
    with.forward(sizes,
                 {of(inputs), of(weight), of(input_bias), of(kernel), of(bias), of(mask),
                  of(initial)},
                 {of(*hidden), cells}, scratch);
  });
}

ffi::Error backward(std::string_view name, Array inputs, Array weight, Array kernel,
                    Array mask, Array initial, Array hidden, Array cells,
                    Array cotangent,
                    Result into_inputs, Result into_weight, Result into_input_bias,
                    Result into_kernel, Result into_bias, Result into_initial) {
  const Sizes sizes = sizes_of(inputs, hidden);
  const Lanes lanes(*into_weight, 2);
  return for_lanes(name, lanes, [&](const Instructions& with, Index lane) {
    auto of = [&](const Array& array) { return lanes.of(array, lane); };
    with.backward(
        sizes,
        {of(inputs), of(weight), nullptr, of(kernel), nullptr, of(mask), of(initial)},
        {of(hidden), of(cells)},
        {of(cotangent), of(*into_inputs), of(*into_weight), of(*into_input_bias),
         of(*into_kernel), of(*into_bias), of(*into_initial)},
        scratch);
  });
}

XLA_FFI_DEFINE_HANDLER(kForward, forward,
                       ffi::Ffi::Bind()
                           .Attr<std::string_view>("instructions")
                           .Arg<Array>()  // inputs
                           .Arg<Array>()  // weight
                           .Arg<Array>()  // input_bias
                           .Arg<Array>()  // kernel
                           .Arg<Array>()  // bias
                           .Arg<Array>()  // mask
                           .Arg<Array>()  // initial
                           .Ret<Array>()  // hidden
                           .RemainingRets());

XLA_FFI_DEFINE_HANDLER(kBackward, backward,
                       ffi::Ffi::Bind()
                           .Attr<std::string_view>("instructions")
                           .Arg<Array>()   // inputs
                           .Arg<Array>()   // weight
                           .Arg<Array>()   // kernel
                           .Arg<Array>()   // mask
                           .Arg<Array>()   // initial
                           .Arg<Array>()   // hidden
                           .Arg<Array>()   // cells
                           .Arg<Array>()   // cotangent
                           .Ret<Array>()   // into_inputs
                           .Ret<Array>()   // into_weight
                           .Ret<Array>()   // into_input_bias
                           .Ret<Array>()   // into_kernel
                           .Ret<Array>()   // into_bias
                           .Ret<Array>()); // into_initial

Adam adam_of(const Array& numbers, const Lanes& lanes, Index lane) {
  Adam by;
  std::memcpy(&by, lanes.of(numbers, lane), sizeof(by));
  return by;
}

ffi::Error sum_squares(std::string_view name, Array gradient, Array value, Array numbers,
                       Result sum) {
  const Lanes lanes(*sum, 0);
  return for_lanes(name, lanes, [&](const Instructions& with, Index lane) {
    *lanes.of(*sum, lane) =
        with.sum_squares(lanes.size(gradient), lanes.of(gradient, lane),
                         lanes.of(value, lane), adam_of(numbers, lanes, lane));
  });
}

// The results lie where value, mean and square do.
ffi::Error adam(std::string_view name, Array gradient, Array value, Array mean,
                Array square, Array numbers, Result new_value, Result new_mean,
                Result new_square) {
  const std::size_t own =
      new_value->dimensions().size() + 1 - numbers.dimensions().size();
  const Lanes lanes(*new_value, own);
  return for_lanes(name, lanes, [&](const Instructions& with, Index lane) {
    with.adam(lanes.size(gradient), lanes.of(gradient, lane), lanes.of(*new_value, lane),
              lanes.of(*new_mean, lane), lanes.of(*new_square, lane),
              adam_of(numbers, lanes, lane));
  });
}

XLA_FFI_DEFINE_HANDLER(kSumSquares, sum_squares,
                       ffi::Ffi::Bind()
                           .Attr<std::string_view>("instructions")
                           .Arg<Array>()   // gradient
                           .Arg<Array>()   // value
                           .Arg<Array>()   // numbers
                           .Ret<Array>()); // sum

XLA_FFI_DEFINE_HANDLER(kAdam, adam,
                       ffi::Ffi::Bind()
                           .Attr<std::string_view>("instructions")
                           .Arg<Array>()   // gradient
                           .Arg<Array>()   // value
                           .Arg<Array>()   // mean
                           .Arg<Array>()   // square
                           .Arg<Array>()   // numbers
                           .Ret<Array>()   // new_value
                           .Ret<Array>()   // new_mean
                           .Ret<Array>()); // new_square

PyObject* handlers(PyObject*, PyObject*) {
  return Py_BuildValue("{sNsNsNsN}", "ifusion_gru_forward",
                       PyCapsule_New(reinterpret_cast<void*>(kForward), nullptr, nullptr),
                       "ifusion_gru_backward",
                       PyCapsule_New(reinterpret_cast<void*>(kBackward), nullptr, nullptr),
                       "ifusion_sum_squares",
                       PyCapsule_New(reinterpret_cast<void*>(kSumSquares), nullptr, nullptr),
                       "ifusion_adam",
                       PyCapsule_New(reinterpret_cast<void*>(kAdam), nullptr, nullptr));
}

PyObject* instructions(PyObject*, PyObject*) {
  PyObject* names = PyList_New(0);
  for (const Instructions& each : all_instructions()) {
    if (!names || !each.there) continue;
    PyObject* name = PyUnicode_FromString(each.name);
    if (!name || PyList_Append(names, name)) Py_CLEAR(names);
    Py_XDECREF(name);
  }
  return names;
}

PyMethodDef methods[] = {
    {"handlers", handlers, METH_NOARGS, "{name: capsule} of what XLA calls."},
    {"instructions", instructions, METH_NOARGS,
     "Names of the instruction sets of this processor, the widest first."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native_gru", nullptr, -1, methods,
                      nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native_gru() { return PyModule_Create(&module); }
