# diffusers' example script, run in its examples/dreambooth folder, once for each RESOLUTION (512, 768, 1024).
# It knows no training adapter, one prompt for all pictures, and attention alone unless told otherwise.
# float8: add --do_fp8_training. Without recomputation: leave --gradient_checkpointing out.
accelerate launch --mixed_precision bf16 train_dreambooth_lora_z_image.py --pretrained_model_name_or_path=$MODEL \
  --instance_data_dir=/tmp/peers/pictures --instance_prompt="a photo of zobj_lamp" --output_dir=/tmp/peers/diffusers \
  --mixed_precision=bf16 --resolution=$RESOLUTION --train_batch_size=1 --cache_latents --gradient_checkpointing \
  --rank=16 --lora_alpha=16 --lora_layers="to_q,to_k,to_v,to_out.0,w1,w2,w3" --optimizer=adamW --use_8bit_adam \
  --learning_rate=1e-4 --lr_scheduler=constant --max_train_steps=100 --seed=1 --report_to=tensorboard
