// Makes and frees shards and tree nodes through the policy's allocator.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include <cowindex/detail/counter.hpp>
#include <cowindex/detail/shard_tree.hpp>

#if defined(__SANITIZE_ADDRESS__)
#define COWINDEX_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COWINDEX_ADDRESS_SANITIZER 1
#endif
#endif

namespace cowindex::detail {

template <class T, class Allocator>
using Rebind = typename std::allocator_traits<Allocator>::template rebind_alloc<T>;

// Runs `undo` at the end of its scope, unless the work there was done: for what must be taken back
// if the rest throws. Not try and catch: that does not compile without exceptions.
template <class Undo>
class Rollback {
  public:
    explicit Rollback(Undo undo) noexcept : undo_(std::move(undo)) {}
    ~Rollback() {
        if (!done_) undo_();
    }
    Rollback(const Rollback&) = delete;
    Rollback& operator=(const Rollback&) = delete;

    void done() noexcept { done_ = true; }

  private:
    Undo undo_;
    bool done_ = false;
};

// Raw memory for one T. Throws what the allocator throws.
template <class T, class Allocator>
[[nodiscard]] T* allocate_one(const Allocator& allocator) {
    Rebind<T, Allocator> rebound(allocator);
    static_assert(std::is_same_v<decltype(rebound.allocate(1)), T*>,
                  "cowindex: Policy::Allocator must hand out plain pointers");
    return std::allocator_traits<Rebind<T, Allocator>>::allocate(rebound, 1);
}

template <class T, class Allocator>
void deallocate_one(const Allocator& allocator, T* memory) noexcept {
    Rebind<T, Allocator> rebound(allocator);
    std::allocator_traits<Rebind<T, Allocator>>::deallocate(rebound, memory, 1);
}

template <class T, class Allocator, class... Args>
[[nodiscard]] T* make_object(const Allocator& allocator, Args&&... args) {
    T* memory = allocate_one<T>(allocator);
    Rollback rollback([&]() noexcept { deallocate_one(allocator, memory); });
    T* object = ::new (static_cast<void*>(memory)) T(std::forward<Args>(args)...);
    rollback.done();
    return object;
}

template <class T, class Allocator>
void destroy_object(const Allocator& allocator, T* object) noexcept {
    object->~T();
    deallocate_one(allocator, object);
}

// How deep this thread is in destroying shards on behalf of some index. A destructor may use the
// index itself, but its commits do not reclaim, or destructors could nest without bound.
inline thread_local unsigned freeing_shards = 0;

// One deeper for the length of a scope.
class FreeingShards {
  public:
    FreeingShards() noexcept { ++freeing_shards; }
    ~FreeingShards() { --freeing_shards; }
    FreeingShards(const FreeingShards&) = delete;
    FreeingShards& operator=(const FreeingShards&) = delete;
};

// How deep this thread is in what commits call, to any index. Not in commits: while one waits,
// another fiber may go on.
inline thread_local unsigned calling_back = 0;

// One deeper for the length of a scope.
class CallingBack {
  public:
    CallingBack() noexcept { ++calling_back; }
    ~CallingBack() { --calling_back; }
    CallingBack(const CallingBack&) = delete;
    CallingBack& operator=(const CallingBack&) = delete;
};

// How deep this thread is in code of the user's that no caller of an edit knows to be run. A clone
// is not counted: it is a part of whoever edits.
[[nodiscard]] inline unsigned callback_depth() noexcept { return freeing_shards + calling_back; }

// What a box costs beyond the shard in it.
template <class Shard>
inline constexpr std::size_t box_overhead = sizeof(ShardBox<Shard>) - sizeof(Shard);

template <class Shard, class Allocator>
void destroy_node(const Allocator& allocator, Node* node) noexcept {
    if (node->level == 0)
        destroy_object(allocator, static_cast<Leaf<Shard>*>(node));
    else
        destroy_object(allocator, static_cast<Inner*>(node));
}

// So many objects of each kind a writer's stocks keep at least, where there are so many.
inline constexpr std::size_t least_kept = 32;

// A writer's stock of memory for shards: a commit frees what the next one needs. Used by one thread
// at a time. Without it two writers free each other's shards, which general allocators handle badly
// (measured: 2 to 3 times slower).
template <class Box, class Allocator>
class BoxPool {
  public:
    explicit BoxPool(const Allocator& allocator) : allocator_(allocator) {}
    BoxPool(const BoxPool&) = delete;
    BoxPool& operator=(const BoxPool&) = delete;
    ~BoxPool() { fit(0); }

    // Memory for one box. Throws what the allocator throws.
    [[nodiscard]] Box* take() {
        if (head_ == nullptr) return allocate_one<Box>(allocator_);
        Free* free = std::exchange(head_, head_->next);
        count_.subtract_alone();
        return reinterpret_cast<Box*>(free);
    }

    // Precondition: no box lives there any more. It is freed where enough is in stock.
    void give(Box* memory) noexcept {
        if (!give_if_room(memory)) deallocate_one(allocator_, memory);
    }
    [[nodiscard]] bool give_if_room(Box* memory) noexcept {
        const std::size_t count = count_.read();
        if (count >= kept_) return false;
        head_ = ::new (static_cast<void*>(memory)) Free{head_};
        count_.set(count + 1);
        return true;
    }

    // Effect: keeps so many, within bounds.
    void fit(std::size_t wanted) noexcept {
        const std::size_t kept = std::min(wanted, max_count);
        if (kept != kept_ || count_.read() > kept) [[unlikely]]
            trim(kept);
    }

    // Any thread.
    [[nodiscard]] std::size_t bytes() const noexcept { return count_.read() * sizeof(Box); }

  private:
    struct Free {
        Free* next;
    };

#if defined(COWINDEX_ADDRESS_SANITIZER)
    static constexpr std::size_t max_count = 0; // let it see each shard's memory freed
#else
    static constexpr std::size_t max_bytes = std::size_t{128} << 10;
    static constexpr std::size_t max_count = std::max<std::size_t>(max_bytes / sizeof(Box), 1);
#endif

    COWINDEX_COLD void trim(std::size_t kept) noexcept {
        kept_ = kept;
        while (count_.read() > kept) deallocate_one(allocator_, take());
    }

    Allocator allocator_;
    Free* head_ = nullptr;
    Counter count_;
    std::size_t kept_ = std::min(least_kept, max_count);
};

// Whether retired shards are assigned to instead of making new ones.
template <class Shard, class Policy>
inline constexpr bool recycles =
    requires(Shard& retired, const Shard& shard) { Policy::assign(retired, shard); };

// Whether an assign() that is there can do what it is for. One whose type is not known before it is
// called, for it is overloaded or a template, is taken to be right.
template <class Function>
struct Retired {};
template <class Result, class First, class Second>
struct Retired<Result (*)(First, Second)> {
    using type = First;
};
template <class Result, class First, class Second>
struct Retired<Result (*)(First, Second) noexcept> {
    using type = First;
};
template <class Shard, class Policy>
[[nodiscard]] constexpr bool assign_is_right() {
    if constexpr (requires { typename Retired<decltype(&Policy::assign)>::type; }) {
        using First = typename Retired<decltype(&Policy::assign)>::type;
        return std::conjunction_v<std::bool_constant<recycles<Shard, Policy>>,
                                  std::is_lvalue_reference<First>,
                                  std::negation<std::is_const<std::remove_reference_t<First>>>>;
    } else {
        return true;
    }
}

// A writer's stock of retired shards that live on, to be assigned to instead of making new ones:
// what they own, say a buffer, is used again. Used by one thread at a time.
template <class Box, class Allocator>
class SparePool {
  public:
    explicit SparePool(const Allocator& allocator) : allocator_(allocator) {}
    SparePool(const SparePool&) = delete;
    SparePool& operator=(const SparePool&) = delete;
    ~SparePool() {
        const FreeingShards freeing;
        while (Box* box = take()) destroy_object(allocator_, box);
    }

    // Null when there is none.
    [[nodiscard]] Box* take() noexcept {
        Box* box = head_;
        if (box == nullptr) return nullptr;
        head_ = static_cast<Box*>(box->next);
        --count_;
        bytes_.subtract_alone(box->bytes());
        return box;
    }

    void give(Box* box) noexcept {
        box->next = head_;
        head_ = box;
        ++count_;
        bytes_.add_alone(box->bytes());
    }

    // As give(), unless as much is in stock as should be kept.
    [[nodiscard]] bool give_if_room(Box* box) noexcept {
        if (count_ >= max_count || bytes() + box->bytes() > max_bytes) return false;
        give(box);
        return true;
    }

    // Any thread.
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_.read(); }

  private:
    static constexpr std::size_t max_count = 32;
    static constexpr std::size_t max_bytes = std::size_t{256} << 10;

    Allocator allocator_;
    Box* head_ = nullptr;
    std::size_t count_ = 0;
    Counter bytes_; // as they were measured, what the shards own included
};

// How many nodes of each kind an operation needs.
struct NodeCount {
    std::size_t leaves = 0;
    std::size_t inners = 0;
};

template <class Shard>
[[nodiscard]] constexpr std::size_t bytes_of(NodeCount nodes) noexcept {
    return nodes.leaves * sizeof(Leaf<Shard>) + nodes.inners * sizeof(Inner);
}

// A writer's stock of blank nodes. Used by one thread at a time.
//
// Reserving is separate from taking: an edit reserves what it will need while it still can fail,
// and takes it when it no longer may.
template <class Shard, class Allocator>
class NodePool {
  public:
    explicit NodePool(const Allocator& allocator) : allocator_(allocator) {}
    NodePool(const NodePool&) = delete;
    NodePool& operator=(const NodePool&) = delete;
    ~NodePool() { trim({}); }

    // Effect: at least `need` nodes are in stock. Strong exception guarantee: what was allocated
    // before a failure is freed again.
    void reserve(NodeCount need) {
        if (!holds(need)) allocate(need);
    }

    [[nodiscard]] NodeCount stock() const noexcept {
        return {static_cast<std::size_t>(leaves().count.read()),
                static_cast<std::size_t>(inners().count.read())};
    }
    [[nodiscard]] bool holds(NodeCount need) const noexcept {
        return leaves().count.read() >= need.leaves && inners().count.read() >= need.inners;
    }

    // Precondition: one is in stock. The children up to `extent` are stale, the others null.
    [[nodiscard]] Leaf<Shard>* take_leaf() noexcept {
        return static_cast<Leaf<Shard>*>(pop(leaves()));
    }
    [[nodiscard]] Inner* take_inner(unsigned level) noexcept {
        Node* node = pop(inners());
        node->level = static_cast<std::uint16_t>(level);
        return static_cast<Inner*>(node);
    }

    void give(Node* node) noexcept { push(stock_of(node), node); }

    // As give(), unless as many are in stock as should be kept.
    [[nodiscard]] bool give_if_room(Node* node) noexcept {
        Stock& stock = stock_of(node);
        if (stock.count.read() >= stock.kept) return false;
        push(stock, node);
        return true;
    }

    // Effect: keeps about as many nodes as a commit of this size takes, within bounds, and `least`
    // of each kind anyway.
    void fit(NodeCount used, std::size_t least) noexcept {
        least = std::min(least, max_kept);
        const bool fits = used.leaves <= least && used.inners <= least && leaves().fits(least) &&
                          inners().fits(least);
        if (!fits) [[unlikely]]
            keep(used, least);
    }

    // Frees what exceeds `keep`.
    void trim(NodeCount keep) noexcept {
        while (leaves().count.read() > keep.leaves) destroy_node<Shard>(allocator_, pop(leaves()));
        while (inners().count.read() > keep.inners) destroy_node<Shard>(allocator_, pop(inners()));
    }

    // Any thread.
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_of<Shard>(stock()); }

  private:
    static constexpr std::size_t max_kept = 2048;

    struct Stock {
        Node* head = nullptr;
        Counter count;
        std::size_t kept = least_kept;

        [[nodiscard]] bool fits(std::size_t least) const noexcept {
            return kept == least && count.read() <= least;
        }
    };
    [[nodiscard]] Stock& leaves() noexcept { return stocks_[0]; }
    [[nodiscard]] Stock& inners() noexcept { return stocks_[1]; }
    [[nodiscard]] const Stock& leaves() const noexcept { return stocks_[0]; }
    [[nodiscard]] const Stock& inners() const noexcept { return stocks_[1]; }
    [[nodiscard]] Stock& stock_of(const Node* node) noexcept {
        return stocks_[node->level == 0 ? 0 : 1];
    }

    COWINDEX_COLD void keep(NodeCount used, std::size_t least) noexcept {
        leaves().kept = std::min(std::max(used.leaves, least), max_kept);
        inners().kept = std::min(std::max(used.inners, least), max_kept);
        trim({leaves().kept, inners().kept});
    }

    COWINDEX_COLD void allocate(NodeCount need) {
        const NodeCount before = stock();
        Rollback rollback([&]() noexcept {
            trim(before);
            leaves_at_once_ = 1; // the next try asks for no more than it needs
        });
        if (before.leaves < need.leaves) {
            const std::size_t wanted = std::max(need.leaves, leaves_at_once_);
            leaves_at_once_ = std::min(2 * leaves_at_once_, least_kept);
            while (leaves().count.read() < wanted)
                push(leaves(), make_object<Leaf<Shard>>(allocator_));
        }
        while (inners().count.read() < need.inners) push(inners(), make_object<Inner>(allocator_));
        rollback.done();
    }

    static void push(Stock& stock, Node* node) noexcept {
        node->next = stock.head;
        stock.head = node;
        stock.count.add_alone();
    }
    static Node* pop(Stock& stock) noexcept {
        Node* node = stock.head;
        stock.head = static_cast<Node*>(node->next);
        stock.count.subtract_alone();
        return node;
    }

    Allocator allocator_;
    // Leaves that are made together share pages, and so cost random reads less (initial_tree.hpp):
    // a writer that often runs out of them, as one that adds many shards does, gets some at a time.
    std::size_t leaves_at_once_ = 1;
    Stock stocks_[2];
};

} // namespace cowindex::detail
