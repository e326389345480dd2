// A transaction of a background process.
#pragma once

namespace securatlas::pg {

// Begins a transaction. Without commit() the destructor aborts it; that never throws.
class Transaction {
  public:
    Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction();

    // Throws Error if the commit fails; then nothing is committed.
    void commit();

    // Commits without waiting until the WAL is flushed (synchronous_commit = off). A later
    // synchronous commit of any process makes it durable too, because WAL is written in order.
    void commit_asynchronously();

  private:
    bool open_ = true;
};

}  // namespace securatlas::pg
