// nginx on 127.0.0.1 with a certificate of an authority that nobody else knows.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "loopback_server.hpp"

namespace securatlas::test {

// Every response has the header "Seen: CONNECTION PROTOCOL RESUMED": the number of the connection,
// "HTTP/1.1" or "HTTP/2.0", and "r" if the TLS session was resumed, else ".". Below /files/ are
// files().
class TlsServer {
  public:
    TlsServer() {
        make_certificates();
        write_configuration();
        start();
    }
    ~TlsServer() {
        kill(nginx_, SIGTERM);
        waitpid(nginx_, nullptr, 0);
        std::filesystem::remove_all(directory_);
    }
    TlsServer(const TlsServer&) = delete;
    TlsServer& operator=(const TlsServer&) = delete;

    // With HTTP/2 and without.
    std::string url(std::string_view path) const { return https(port_, path); }
    std::string url_of_http1(std::string_view path) const { return https(http1_port_, path); }

    std::string authority() const { return directory_ + "/ca.pem"; }
    std::string files() const { return directory_ + "/files"; }

  private:
    static std::string https(const std::string& port, std::string_view path) {
        return "https://127.0.0.1:" + port + std::string(path);
    }

    // Free a moment ago.
    static std::string free_port() {
        const std::string url = LoopbackSocket().url("");
        return url.substr(url.rfind(':') + 1);
    }

    void make_certificates() {
        const std::string script =
            "exec >openssl.log 2>&1; set -e; new='-newkey ec -pkeyopt "
            "ec_paramgen_curve:prime256v1 -nodes'\n"
            "openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=authority -days 2\n"
            "openssl req $new -keyout server.key -out server.csr -subj /CN=server\n"
            "echo subjectAltName=IP:127.0.0.1 >names\n"
            "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
            "-extfile names -out server.pem\n";
        if (std::system(("cd '" + directory_ + "' && " + script).c_str()) != 0) {
            throw std::runtime_error("openssl made no certificate");
        }
    }

    void write_configuration() const {
        std::filesystem::create_directory(files());
        std::ofstream(directory_ + "/nginx.conf")
            << "daemon off; master_process off; pid nginx.pid; error_log nginx.log;\n"
               "events { worker_connections 512; }\n"
               "http { access_log off; client_body_temp_path body; proxy_temp_path proxy;\n"
               "fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"
               "ssl_certificate server.pem; ssl_certificate_key server.key;\n"
               "ssl_session_cache shared:sessions:1m;\n"
            << server(port_ + " ssl http2") << server(http1_port_ + " ssl") << "}\n";
    }

    std::string server(const std::string& listen) const {
        return "server { listen 127.0.0.1:" + listen +
               "; add_header Seen \"$connection "
               "$server_protocol $ssl_session_reused\"; location /files/ { root " +
               directory_ + "; } location / { return 200 ok; } }\n";
    }

    void start() {
        const std::string log = directory_ + "/nginx.log";
        const std::string configuration = directory_ + "/nginx.conf";
        nginx_ = fork();
        if (nginx_ == 0) {
            // Debian has it where ordinary users do not look.
            const std::string path = std::string(std::getenv("PATH")) + ":/usr/sbin";
            setenv("PATH", path.c_str(), 1);
            execlp("nginx", "nginx", "-e", log.c_str(), "-p", directory_.c_str(), "-c",
                   configuration.c_str(), nullptr);
            _exit(127);
        }
        const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (!is_listening()) {
            if (std::chrono::steady_clock::now() > give_up ||
                waitpid(nginx_, nullptr, WNOHANG) != 0) {
                throw std::runtime_error("nginx does not run");
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    }

    bool is_listening() const {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(http1_port_)));
        const bool connected =
            connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
        close(fd);
        return connected;
    }

    static std::string make_directory() {
        std::string name = std::filesystem::temp_directory_path() / "tls_server.XXXXXX";
        if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no directory");
        return name;
    }

    const std::string directory_ = make_directory();
    const std::string port_ = free_port();
    const std::string http1_port_ = free_port();
    pid_t nginx_ = -1;
};

}  // namespace securatlas::test
