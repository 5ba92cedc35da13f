"""A faster gradient for the kernels of convolutions over small maps, by one matrix product.

For maps of few pixels oneDNN takes up to six times as long as a matrix product, and VGG16 has
most of its filters there. Measured on two cores without AVX512-VNNI, for 64 images and 512 to
512 channels: 75 and 12 ms at 2 x 2 pixels, 70 and 41 ms at 4 x 4, no difference at 8 x 8.
"""

import keras
import tensorflow as tf

LARGEST_MAP = 16  # pixels


def speed_up(model: keras.Model) -> None:
    """Makes a model's convolutions over small maps compute their gradient by a matrix product.

    Only those of stride 1 and same padding change. Their results stay the same, and they are
    saved as plain Conv2D layers. On a GPU nothing changes.

    Args:
        model: a functional model, changed in place.
    """
    if tf.config.list_logical_devices("GPU"):
        return
    for layer in model.layers:
        if _is_plain(layer):
            pixels = tf.TensorShape(layer.output.shape[1:3]).num_elements()
            if pixels and pixels <= LARGEST_MAP:
                layer.convolution_op = _convolve  # Keras documents that it may be overridden


def _is_plain(layer: keras.layers.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.strides == layer.dilation_rate == (1, 1)
        and layer.padding == "same"
        and layer.groups == 1
        and layer.data_format == "channels_last"
    )


def _convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    # Outside a graph Keras's conversion still returns TensorFlow's variable.
    return _convolved(inputs, tf.identity(keras.ops.convert_to_tensor(kernel)))


@tf.custom_gradient
def _convolved(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, object]:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        of_inputs = tf.nn.conv2d_transpose(
            upstream, kernel, tf.shape(inputs), strides=1, padding="SAME"
        )
        height, width, channels, filters = kernel.shape
        patches = tf.image.extract_patches(
            inputs, (1, height, width, 1), (1, 1, 1, 1), (1, 1, 1, 1), "SAME"
        )
        rows = tf.reshape(patches, (-1, height * width * channels))
        columns = tf.reshape(upstream, (-1, filters))
        of_kernel = tf.matmul(rows, columns, transpose_a=True)
        return of_inputs, tf.reshape(of_kernel, kernel.shape)

    return tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME"), gradient
