// A transaction of a background process.
#pragma once

namespace securatlas::pg {

// Begins a transaction. Leaving the scope in any way but commit() aborts it; that never throws.
class Transaction {
  public:
    Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction();

    // Throws Error if the commit failed; nothing is committed then.
    void commit();

    // Commits without waiting for WAL to reach the disk. A later synchronous commit of any process
    // makes it durable, because WAL is written in order.
    void commit_asynchronously();

  private:
    bool open_ = true;
};

}  // namespace securatlas::pg
