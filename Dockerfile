# The server with the extension in it:
#
#   docker build --tag securatlas_sched .
#   docker run --env POSTGRES_PASSWORD=... securatlas_sched
#
# or an image with nothing but the extension, which CloudNativePG mounts into a server (18 and later):
#
#   docker build --target extension --build-arg POSTGRES=18-trixie --tag securatlas_sched:18 .
#
# POSTGRES is a tag of the official image, on Debian: 15-bookworm, 17-trixie, ...
ARG POSTGRES=17-trixie

FROM postgres:${POSTGRES} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends \
        g++ make patchelf libcurl4-openssl-dev libssl-dev zlib1g-dev nlohmann-json3-dev \
        "postgresql-server-dev-$PG_MAJOR"
COPY . /project
WORKDIR /project
RUN make -f Makefile.pgxs -j"$(nproc)" && make -f Makefile.pgxs install DESTDIR=/installed
RUN scripts/image_tree /installed "$(pg_config --bindir)/postgres" /image

FROM scratch AS extension
COPY --from=build /image /

FROM postgres:${POSTGRES} AS server
# With the certificates of the authorities that are trusted.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates libcurl4 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /installed /
# The configuration of each new data directory is a copy of the sample.
RUN printf '%s\n' "shared_preload_libraries = 'securatlas_sched'" 'max_worker_processes = 64' \
        >> /usr/share/postgresql/postgresql.conf.sample \
    && echo 'CREATE EXTENSION securatlas_sched;' > /docker-entrypoint-initdb.d/securatlas_sched.sql
