// Result<T, E>: a value, or the reason why there is none.
#pragma once

#include <cassert>
#include <optional>
#include <utility>
#include <variant>

namespace securatlas::core {

// Wraps an error, so that `return Failure{error};` converts to any Result with that error type.
template <class E>
struct Failure {
    E error;
};
template <class E>
Failure(E) -> Failure<E>;

// Holds a T or an E. value() on a failure and error() on a success are programming errors (assert).
template <class T, class E>
class [[nodiscard]] Result {
  public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Failure<E> failure) : state_(std::in_place_index<1>, std::move(failure.error)) {}

    explicit operator bool() const { return state_.index() == 0; }

    const T& value() const& { return *checked<0>(); }
    T&& value() && { return std::move(*checked<0>()); }
    const E& error() const& { return *checked<1>(); }

    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(*this).value(); }
    const T* operator->() const { return &value(); }

  private:
    template <std::size_t I>
    const auto* checked() const {
        assert(state_.index() == I);
        return std::get_if<I>(&state_);
    }
    template <std::size_t I>
    auto* checked() {
        assert(state_.index() == I);
        return std::get_if<I>(&state_);
    }

    std::variant<T, E> state_;
};

}  // namespace securatlas::core
