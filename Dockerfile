# The command `headstart` and its server, with the default backbone inside. docs/serving.md says how to build and run it.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 HEADSTART_CACHE=/opt/headstart-cache
WORKDIR /src
RUN python3 -m venv /opt/headstart
COPY requirements requirements
RUN /opt/headstart/bin/pip install --require-hashes -r requirements/serve.txt
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements/build.txt
COPY . .
RUN /opt/build/bin/python -m hatchling build -t wheel -d /opt/wheel
RUN /opt/headstart/bin/pip install --no-deps /opt/wheel/*.whl
RUN /opt/headstart/bin/python -c "import headstart; headstart.default_backbone()"

FROM python:${PYTHON}-slim
RUN useradd --create-home --uid 10001 headstart
COPY --from=build /opt/headstart /opt/headstart
COPY --from=build --chown=headstart:headstart /opt/headstart-cache /opt/headstart-cache
ENV PATH=/opt/headstart/bin:$PATH HEADSTART_CACHE=/opt/headstart-cache
USER headstart
WORKDIR /home/headstart
EXPOSE 8000
ENTRYPOINT ["headstart"]
CMD ["--help"]
