# Installs the servers that tests/targets starts. What cannot be installed here is said, and its tests are skipped.
FOLDER := build/servers

.PHONY: all
all: $(FOLDER)/versitygw $(FOLDER)/node_modules/.bin/azurite-blob

$(FOLDER)/versitygw:
	@mkdir -p $(FOLDER)
	GOBIN=$(CURDIR)/$(FOLDER) go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 || echo "versitygw: not installed, its tests are skipped"

$(FOLDER)/node_modules/.bin/azurite-blob:
	@mkdir -p $(FOLDER)
	npm install --silent --no-audit --no-fund --prefix $(FOLDER) azurite@3.35.0 || echo "azurite: not installed, its tests are skipped"
