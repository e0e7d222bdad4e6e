# syntax=docker/dockerfile:1
# Builds an image with the program and the roots of the public certificate
# authorities, and nothing else: no shell, no package manager.
#
#   docker build --build-arg VERSION=v1.2.3 --build-arg REVISION=$(git rev-parse HEAD) -t b24proxy .
#   docker run -p 127.0.0.1:8080:8080 b24proxy
#
# The admin listener (metrics, health, profiles) has no authentication. In the
# container both listeners use every address, because clients, scrapers and
# probes come from outside. EXPOSE publishes nothing: publish only 8080, and let
# Prometheus reach 8081 over the container's own network.

FROM --platform=$BUILDPLATFORM golang:1.26-trixie AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel REVISION=unknown
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION -X main.revision=$REVISION" -o /out/b24proxy ./cmd/b24proxy
# Large request bodies go to /tmp, which scratch does not have.
RUN mkdir -m 1777 /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ /
ENV B24PROXY_LISTEN=:8080 \
    B24PROXY_ADMIN_LISTEN=:8081
# A number, so that Kubernetes can see that this user is not root.
USER 65532:65532
EXPOSE 8080 8081
# There is no HEALTHCHECK, because the image has no program that could ask: probe
# /healthz and /readyz of the admin listener from outside.
ENTRYPOINT ["/b24proxy"]
