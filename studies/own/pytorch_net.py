"""A PyTorch net for the digits of scikit-learn, as `hpsearch run pytorch.yaml` trains it."""

import io

import torch


def train(params, seed, state=None, data=None):
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Linear(data.train.x.shape[1], params["hidden_units"]),
        torch.nn.ReLU(),
        torch.nn.Linear(params["hidden_units"], len(data.classes)),
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=params["learning_rate"], momentum=params["beta"])
    x, y = torch.tensor(data.train.x), torch.tensor(data.train.y)
    val_x, val_y = torch.tensor(data.val.x), torch.tensor(data.val.y)
    epoch = 0
    if state is not None:  # resume after a pause
        saved = torch.load(io.BytesIO(state), weights_only=True)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        epoch = saved["epoch"]

    def save():
        file = io.BytesIO()
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, file)
        return file.getvalue()

    while True:
        torch.manual_seed(seed + epoch)  # each epoch has its own order of rows, also after a pause
        for batch in torch.randperm(len(x)).split(params["batch_size"]):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        epoch += 1
        with torch.no_grad():
            logits = net(val_x)
        yield (
            {
                "val/loss": torch.nn.functional.cross_entropy(logits, val_y),
                "val/accuracy": (logits.argmax(1) == val_y).float().mean(),
            },
            save,
        )


def predict(params, state, rows):
    """Return the probabilities of the classes for prepared rows."""
    saved = torch.load(io.BytesIO(state), weights_only=True)["net"]
    hidden = torch.relu(torch.tensor(rows) @ saved["0.weight"].T + saved["0.bias"])
    return torch.softmax(hidden @ saved["2.weight"].T + saved["2.bias"], 1).numpy()
