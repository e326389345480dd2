// A transaction of a background process, and how commits of this process reach the disk.
#pragma once

namespace securatlas::pg {

// While it lives, commits do not wait until the WAL is flushed (synchronous_commit = off). A later
// synchronous commit of any process makes them durable too, because WAL is written in order.
class AsynchronousCommits {
  public:
    AsynchronousCommits();
    AsynchronousCommits(const AsynchronousCommits&) = delete;
    AsynchronousCommits& operator=(const AsynchronousCommits&) = delete;
    ~AsynchronousCommits();

  private:
    int before_;
};

// Whether synchronous_commit was set for the role or the database, or by the session itself.
bool has_own_synchronous_commit();

// Whether the current transaction has written nothing: no transaction id was assigned to it.
bool has_written_nothing();

// Begins a transaction. Without commit() the destructor aborts it; that never throws.
class Transaction {
  public:
    Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction();

    // Throws Error if the commit fails; then nothing is committed.
    void commit();

    // See AsynchronousCommits.
    void commit_asynchronously();

  private:
    bool open_ = true;
};

}  // namespace securatlas::pg
