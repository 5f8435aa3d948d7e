# klpemu as an image, for those who want its checks without Node on their machine:
#
#   docker build -t klpemu .
#   docker run --rm -v "$PWD:/work" klpemu vet mypatch.ko --modules .

FROM node:20-bookworm-slim AS build
WORKDIR /src
COPY . .
RUN npm ci --no-audit --no-fund
RUN npm pack --pack-destination /tmp

FROM node:20-bookworm-slim
COPY --from=build /tmp/klpemu-0.1.0.tgz /tmp/
RUN npm install --global --omit=optional --no-audit --no-fund /tmp/klpemu-0.1.0.tgz && rm /tmp/klpemu-0.1.0.tgz
WORKDIR /work
USER node
ENTRYPOINT ["klpemu"]
CMD ["--help"]
