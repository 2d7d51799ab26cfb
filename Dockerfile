# syntax=docker/dockerfile:1
# The page and its API in a container, as a user without rights.
#
#   docker build -t lectern .
#   docker build -t lectern:gpu --build-arg DEVICE=gpu .         # for machines with an NVIDIA GPU: run with --gpus all
#   docker run -it --rm -v lectern:/data lectern users add anna --role admin
#   docker run -p 7860:7860 -v lectern:/data lectern             # http://localhost:7860, after the login
#
# Documents, logins and settings live in the volume /data (LECTERN_HOME). Another address than loopback needs a login,
# and from outside a container's address is another one, so the first user is added before the first start.

FROM python:3.11-slim-bookworm AS build
ARG DEVICE=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/lectern
WORKDIR /src
COPY requirements.txt requirements-gpu.txt constraints.txt ./
# torch first and alone, from the index of CPU builds where there is no GPU: it is most of the image
RUN TORCH="$(grep -o '^torch==[^ ]*' requirements.txt)" \
    && if [ "$DEVICE" = gpu ]; then /opt/lectern/bin/pip install "$TORCH"; \
       else /opt/lectern/bin/pip install "$TORCH" --index-url "$TORCH_INDEX"; fi \
    && grep -v '^torch==' requirements.txt > rest.txt \
    && if [ "$DEVICE" = gpu ]; then grep -v '^faiss-cpu' rest.txt > cut.txt && mv cut.txt rest.txt \
       && /opt/lectern/bin/pip install -r requirements-gpu.txt -c constraints.txt; fi \
    && /opt/lectern/bin/pip install -r rest.txt -c constraints.txt
COPY . .
# the setuptools that a fresh environment brings along is too old to build a wheel by itself
RUN /opt/lectern/bin/pip install --upgrade "setuptools>=77" && /opt/lectern/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /data lectern
COPY --from=build /opt/lectern /opt/lectern
ENV PATH=/opt/lectern/bin:$PATH \
    LECTERN_HOME=/data \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    GRADIO_ANALYTICS_ENABLED=False
USER lectern
WORKDIR /data
VOLUME /data
EXPOSE 7860
# up, whether or not the models are loaded yet; /metrics and /api/v1/health tell more
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["lectern"]
CMD ["serve", "--host", "0.0.0.0", "--port", "7860"]
