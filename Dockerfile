# syntax=docker/dockerfile:1
# Builds b24proxy into an image that holds the program, the roots of the public
# certificate authorities, and nothing else: no shell, no package manager.
#
#   docker build --build-arg VERSION=v1.2.3 --build-arg REVISION=$(git rev-parse HEAD) -t b24proxy .
#   docker run -p 8080:8080 b24proxy
#
# The admin listener (metrics, health, profiles) has no authentication. In a
# container it listens on every address too, since a scraper or a probe comes
# from outside; EXPOSE publishes nothing, so publish 8080 alone and let 8081 be
# reached over the container's own network.

FROM --platform=$BUILDPLATFORM golang:1.26-trixie AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel REVISION=unknown
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION -X main.revision=$REVISION" -o /out/b24proxy ./cmd/b24proxy
# Large request bodies are spooled to /tmp, which scratch does not have.
RUN mkdir -m 1777 /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ /
ENV B24PROXY_LISTEN=0.0.0.0:8080 \
    B24PROXY_ADMIN_LISTEN=0.0.0.0:8081
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8080 8081
# There is no HEALTHCHECK, since nothing here could ask: probe /healthz and
# /readyz of the admin listener from outside.
ENTRYPOINT ["/b24proxy"]
