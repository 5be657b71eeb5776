# docker build -t ringroad .
# docs/install.md tells how to run the image.
FROM rust:1.95-slim-trixie AS build
# The C code of the memory allocator is built by make.
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked && strip target/release/ringroad

FROM debian:trixie-slim
# For the admin socket. A number, so that Kubernetes can tell that it is not root.
RUN install -d -o 10001 -g 10001 /run/ringroad
COPY --from=build /src/target/release/ringroad /usr/local/bin/ringroad
COPY LICENSE /usr/local/share/doc/ringroad/LICENSE
USER 10001:10001
EXPOSE 22121 22222
# Requests in flight get ten seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s CMD ["ringroad", "ctl", "status"]
ENTRYPOINT ["ringroad"]
CMD ["-c", "/etc/ringroad/ringroad.yml", "--admin", "/run/ringroad/ctl.sock", "--watch"]
