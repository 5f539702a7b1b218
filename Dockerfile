# Batch prediction with a run or an export of yours; docs/predicting.md says how it is used.
FROM python:3.11-slim
WORKDIR /opt/tellapart
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt . onnxruntime \
    && useradd --uid 1000 --create-home predict \
    && mkdir /cache && chown predict /cache
USER predict
ENV TELLAPART_CACHE_DIR=/cache
ENTRYPOINT ["tellapart", "predict", "/model"]
CMD ["/images", "--out", "/answers/answers.csv"]
