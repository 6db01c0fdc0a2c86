ARG CACHEBUST=1
FROM node:22-alpine@sha256:a3c9a3c9a3c9a3c9a3c9a3c9a3c9a3c9a3c9a3c9a3c9a3c9a3c9a3c9a3c9a3c9
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
RUN echo "Build timestamp: $CACHEBUST"
COPY . .
USER node
CMD ["node", "index.js"]
